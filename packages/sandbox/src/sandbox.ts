import type { Duplex, Readable } from "node:stream";

/**
 * A host path made visible inside a sandbox. No target lies in `/usr`, `/etc`, `/proc`, `/dev`
 * or `/run/treadle`: those belong to the root. A
 * read-write source belongs to the sandbox's user while it lives; afterwards everything in it is given back.
 */
export interface Mount {
  /** Absolute host path of a file or directory. */
  readonly source: string;
  /** Absolute path inside the sandbox. */
  readonly target: string;
  readonly access: "read-only" | "read-write";
}

/** What a program needs of the system: becomes a small read-only root, made once and shared by all its sandboxes. */
export interface RootSpec {
  /** Executables by host path and the path inside; their shared libraries come along (found as the dynamic linker would). */
  readonly executables: readonly { readonly source: string; readonly target: string }[];
  /** Host directories or files of the system that are visible at the same path (`/usr/lib/python3`); shared libraries in them bring theirs. Missing ones are left out. */
  readonly system: readonly string[];
}

/** Limits of one sandbox. Everything inside it counts together unless said otherwise. */
export interface SandboxLimits {
  /** Memory with page cache and scratch, bytes. */
  readonly memoryBytes: number;
  /** Processes and threads. */
  readonly processes: number;
  /** CPU share in cores, e.g. 0.5; null: no ceiling. */
  readonly cpus: number | null;
  /** Size of the scratch directory /tmp (a tmpfs), bytes. */
  readonly scratchBytes: number;
  /** Open files of one process. */
  readonly openFiles: number;
}

/** Where a sandbox may connect to, through the egress proxy. Destinations that resolve to non-public addresses are refused unless listed in `trusted`. */
export interface EgressPolicy {
  /** Host names or `*.suffix` patterns that may be reached; null: any public host. */
  readonly allow: readonly string[] | null;
  /** `host:port` pairs the operator vouches for: allowed whatever their address. */
  readonly trusted: readonly string[];
}

/** What a sandbox's egress proxy has done since the sandbox started. */
export interface EgressCounts {
  readonly allowed: number;
  /** Refused by the policy or because of the address. */
  readonly denied: number;
}

/** One process to run in a box. */
export interface SandboxSpec {
  /** Program and arguments, paths inside the sandbox. */
  readonly command: readonly string[];
  /** The whole environment; nothing is inherited. */
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  readonly root: RootSpec;
  readonly mounts: readonly Mount[];
  readonly limits: SandboxLimits;
  /** null: no way out. Can be changed later with `setEgress`. */
  readonly egress: EgressPolicy | null;
}

/** Why a sandbox is gone. */
export interface SandboxExit {
  /** A program that exits with 128 plus the number of a signal looks as if it died of that signal. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** `killed`: by `kill()`; `out_of_memory`: the kernel or the watchdog enforced `memoryBytes`; `exited`: by itself or by a signal from inside. */
  readonly cause: "exited" | "killed" | "out_of_memory";
}

/** A live sandbox. Dispose of it, or kill it, when done; both are idempotent. */
export interface Sandbox extends AsyncDisposable {
  readonly id: string;
  /** Process id, on the host, of the outermost process. */
  readonly pid: number;
  /** The host's end of file descriptor 3 of the process inside. */
  readonly channel: Duplex;
  /** Read both, or `resume()` them: a full pipe stops the program, and an unread one stays open after its end. */
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Host path of the directory that is visible inside, read-only, as /run/treadle: sockets and late files go
   * here, readable for every user. */
  readonly runDirectory: string;
  /** The path by which the program finds `target`, a path inside: the same, except with the driver `none`. */
  pathInside(target: string): string;
  /**
   * A stream to the unix socket that a program inside listens on, at `path`: directly in its /tmp, which is its own and of bounded size. Whatever user code
   * puts there instead (a link, a fifo, a file) is not opened. Listen to `error` at once.
   * @throws Error with the kernel's code: ENOENT, ECONNREFUSED while nobody listens, ENOTSOCK; RangeError for other paths
   */
  connect(path: string): Promise<Duplex>;
  /** Resolves (never rejects) when no process of the sandbox is left and what it used on the host is cleaned up. */
  readonly exited: Promise<SandboxExit>;
  /** Changes memory, processes and cpus of the running sandbox. */
  setLimits(limits: Pick<SandboxLimits, "memoryBytes" | "processes" | "cpus">): void;
  /** Opens, changes or closes (null) the way out. Connections made under the policy before are cut. */
  setEgress(policy: EgressPolicy | null): Promise<void>;
  egressCounts(): EgressCounts;
  /** Memory in use now, bytes. */
  memoryBytes(): number;
  /** Kills everything inside; resolves like `exited`. */
  kill(): Promise<SandboxExit>;
}

/** What `doctor` prints for one thing the sandbox wants of the machine. */
export interface Finding {
  readonly name: string;
  /** `absent`: not there, which only those miss who want it. */
  readonly status: "ok" | "absent" | "degraded" | "missing";
  /** What was seen, in one sentence. */
  readonly message: string;
  /** The exact command or change that mends it, when there is one. */
  readonly remedy?: string;
}

/** A way to build sandboxes. */
export interface SandboxDriver extends AsyncDisposable {
  readonly name: string;
  /** Starts a sandbox; rejects with SANDBOX_UNAVAILABLE when it cannot be built. Resolves once the process is started. */
  spawn(spec: SandboxSpec): Promise<Sandbox>;
  /** What this machine allows. Runs real probes. */
  examine(): Promise<Finding[]>;
}
