/** How a runtime server talks to its caller: frames on file descriptor 3 (CHANNEL.md), or HTTP (Open Runtimes v5). */
export type Transport = "frames" | "http";

/** The calling contracts of shared words: what a user's function looks like. */
export type Contract = "inline" | "handler";

/** A language as found on this machine: everything needed to start its runtime server in a sandbox or as a plain process. */
export interface Runtime {
  /** Folder name: `node`, `python`. */
  readonly language: string;
  /** Other names users may write for it: `nodejs`, `python3`. */
  readonly aliases: readonly string[];
  /** Language and major version: `node-24`, `python-3.11`. */
  readonly name: string;
  readonly version: string;
  readonly contracts: readonly Contract[];
  /** Entry file taken when a handler function names none. */
  readonly defaultEntrypoint: string;
  /** File name shown in stack traces for the body of an inline function: name → `name.js`. */
  inlineFileName(functionName: string): string;
  /** What the root of its sandbox must hold (see RootSpec of the sandbox package, same shape). */
  readonly root: {
    readonly executables: readonly { readonly source: string; readonly target: string }[];
    readonly system: readonly string[];
  };
  /** Read-only mounts of the runtime server itself. */
  readonly mounts: readonly { readonly source: string; readonly target: string; readonly access: "read-only" }[];
  /** Program and arguments inside the sandbox. `heapBytes` bounds the language's own heap below the sandbox's memory limit, where it has such a bound. */
  command(options: { transport: Transport; heapBytes: number | null }): string[];
  /** The runtime's part of the environment inside the sandbox. */
  readonly environment: Readonly<Record<string, string>>;
  /** Memory an instance needs before user code adds anything, bytes: the least sensible memory limit. */
  readonly baseMemoryBytes: number;
}

/** A language that this machine cannot run, and why. */
export interface MissingRuntime {
  readonly language: string;
  readonly reason: string;
  /** The command that gets it. */
  readonly remedy: string;
}

/** Each language folder's `manifest.ts` exports one of these as `manifest`. */
export interface RuntimeManifest {
  readonly language: string;
  /** Looks for the toolchain; fast (under 100 ms), no side effects. */
  find(): Promise<Runtime | MissingRuntime>;
}
