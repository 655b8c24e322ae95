/** Settings of the functions capability; the server fills them from flags and environment variables. Sizes in bytes, times in ms. */
export interface FunctionsSettings {
  /** Time limit of one execution, by language; `default` for the others. */
  readonly timeoutMs: Readonly<Record<string, number>> & { readonly default: number };
  /** Time limit of one execution of a handler or script, unless its language has a limit of its own above. */
  readonly handlerTimeoutMs: number;
  /** Time limit of one async execution. */
  readonly asyncTimeoutMs: number;
  /** How long a call waits for an instance (start, load, queue, dependency install) before it fails. */
  readonly waitMs: number;
  /** Live instances of this process, prewarmed ones not counted; the least recently used idle one makes room. */
  readonly maxInstances: number;
  /** An instance without calls for this long is stopped. */
  readonly idleMs: number;
  /** Processes kept started, without user code, for first calls: per runtime. */
  readonly prewarmed: number;
  /** Calls one instance works on at a time. */
  readonly concurrency: number;
  /** Instances a handler function may scale out to. */
  readonly maxInstancesPerFunction: number;
  /** Calls that may wait for one function's instances. */
  readonly queueLength: number;
  /** Bound of the JavaScript heap of a Node instance. */
  readonly heapBytes: number;
  /** Of an instance of functions saved as files. */
  readonly memoryBytes: number;
  /** Of an instance of a built deployment. */
  readonly deploymentMemoryBytes: number;
  readonly processes: number;
  readonly cpus: number | null;
  readonly scratchBytes: number;
  readonly openFiles: number;
  /** Longest body of a request to a handler or script. */
  readonly requestBytes: number;
  readonly resultBytes: number;
  /** All log text of one execution. */
  readonly logBytes: number;
  readonly logEntryCharacters: number;
  /** Input and output kept with an execution's record are cut to this. */
  readonly recordBytes: number;
  /** Whether packages that code imports and no manifest names are added to the workspace's dependencies. */
  readonly inferDependencies: boolean;
  /** Built-in modules inline Node code may load; null: all. */
  readonly allowedModules: readonly string[] | null;
}
