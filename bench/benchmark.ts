/** How a benchmark is to be run. */
export interface BenchmarkOptions {
  /** Durations and counts just large enough to see that the program works; the figures mean nothing. */
  readonly quick: boolean;
  /** Tells whoever waits what is being done. */
  readonly say: (message: string) => void;
}

/** One of the programs in benchmarks/. */
export interface Benchmark {
  readonly name: string;
  readonly title: string;
  /** What is measured and how, for the page; Markdown. */
  readonly method: string;
  run(options: BenchmarkOptions): Promise<Outcome>;
}

export interface Outcome {
  readonly tables: readonly Table[];
  /** Targets: reached or not is told, not enforced, since the machine has a say in them. */
  readonly bars: readonly Bar[];
  /** What must hold on any machine; one that does not makes the run fail. */
  readonly checks: readonly Check[];
  /** What the reader should know of this run: warnings of the server, things that were missing. */
  readonly notes: readonly string[];
  /** Every single measurement, for the JSON file. */
  readonly measurements: unknown;
}

export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export interface Bar {
  readonly name: string;
  readonly target: string;
  readonly reached: string;
  readonly pass: boolean;
}

export interface Check {
  readonly name: string;
  readonly pass: boolean;
  /** What was seen. */
  readonly seen: string;
}
