/** How a runtime server talks to its caller: frames on file descriptor 3 (CHANNEL.md), or HTTP (HTTP.md, Open Runtimes v5). */
export type Transport = "frames" | "http";

/** The calling contracts of shared words: what a user's function looks like. */
export type Contract = "inline" | "handler" | "script";

/** What a sandbox's root must hold (RootSpec of the sandbox package, same shape). */
export interface RuntimeRoot {
  readonly executables: readonly { readonly source: string; readonly target: string }[];
  readonly system: readonly string[];
}

/** A host path visible inside a sandbox, read-only. */
export interface RuntimeMount {
  readonly source: string;
  readonly target: string;
  readonly access: "read-only";
}

/** What a runtime server is started for; paths are those inside the sandbox (or of the host, for a plain process). */
export interface Launch {
  readonly transport: Transport;
  /** Bound of the language's own heap below the sandbox's memory limit, where it has such a bound. */
  readonly heapBytes: number | null;
  /** The code layer; null for a frames server that is told by LOAD alone. */
  readonly code: string | null;
  /** The dependency layer; null when there is none. */
  readonly dependencies: string | null;
}

/** One program of a build, run in a sandbox of its own: no way out but for `fetch`, no privileges, limits of builds. */
export interface BuildStep {
  /** Program and arguments inside, mostly `/bin/sh` and the folder's `fetch.sh` or `build.sh`. */
  readonly command: readonly string[];
  /** The toolchain. */
  readonly root: RuntimeRoot;
  readonly mounts: readonly RuntimeMount[];
  readonly environment: Readonly<Record<string, string>>;
}

/**
 * How a source becomes an artifact of two layers. Inside: `/source` (a writable copy), `/dependencies`, `/artifact`, `/tmp`.
 * `TREADLE_ENTRYPOINT` names the entry file, `TREADLE_COMMAND` the user's own build command, where there are such.
 */
export interface BuildPlan {
  /** Names of files (anywhere in the source) that decide what is fetched: their digest, with the runtime's name, is the key of the dependency layer. */
  readonly manifestFiles: readonly string[];
  /**
   * Fills `/dependencies` (empty, writable) from the manifest files in `/source`; nothing else of the source is there, and no code of the user's or of packages
   * is run. Packages come through `HTTPS_PROXY`, from `registries` only. It may leave `/dependencies/lock`, whose digest is then the deployment's lock digest.
   */
  readonly fetch: (BuildStep & { readonly registries: readonly string[] }) | null;
  /** Makes `/artifact` (empty, writable) of `/source` and `/dependencies` (read-only), without network. Null: the source is the code layer as it is. */
  readonly compile: BuildStep | null;
  /** npm and uv, whose installs the host does itself (functions/dependencies), take the place of `fetch`. */
  readonly installer: "npm" | "uv" | null;
}

/** A language as found on this machine: everything needed to build, and to start its runtime server in a sandbox or as a plain process. */
export interface Runtime {
  /** Folder name: `node`, `python`. */
  readonly language: string;
  /** Other names users may write for it: `nodejs`, `python3`. */
  readonly aliases: readonly string[];
  /** Language and version as far as it matters to built code: `node-24`, `python-3.11`. */
  readonly name: string;
  readonly version: string;
  readonly contracts: readonly Contract[];
  /** What the server speaks, the one to be used in a sandbox first. */
  readonly transports: readonly Transport[];
  /** Entry file taken when a handler function names none. */
  readonly defaultEntrypoint: string;
  /** Endings of source files, `.js`; with `markerFiles` they tell the language of a folder that does not name it. */
  readonly fileEndings: readonly string[];
  /** Files whose presence at a folder's root says this language: `go.mod`. */
  readonly markerFiles: readonly string[];
  /** What the root of its sandbox must hold. */
  readonly root: RuntimeRoot;
  /** Read-only mounts of the runtime server itself. */
  readonly mounts: readonly RuntimeMount[];
  /** Program and arguments that start the server. */
  command(launch: Launch): string[];
  /** The runtime's part of the environment inside the sandbox. */
  readonly environment: Readonly<Record<string, string>>;
  readonly build: BuildPlan;
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
  /** Looks for the toolchain; fast (under 100 ms; reads files rather than starting programs), no side effects. */
  find(): Promise<Runtime | MissingRuntime>;
}

/** The plan of a language whose source is its code layer and that fetches nothing. */
export const NO_BUILD: BuildPlan = { manifestFiles: [], fetch: null, compile: null, installer: null };
