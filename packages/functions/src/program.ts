import type { Contract, InlineFunctionSource, Runtime } from "@treadle/runtimes";
import type { EgressPolicy } from "@treadle/sandbox";

/** A file of a handler function's source, path relative to the source folder. */
export interface SourceFile {
  readonly path: string;
  readonly content: Uint8Array;
}

/** What one instance may use. */
export interface ProgramLimits {
  readonly memoryBytes: number;
  readonly processes: number;
  /** Cores; null: no ceiling. */
  readonly cpus: number | null;
  readonly scratchBytes: number;
}

/** Installed packages, as a program's instances see them. */
export interface ProgramDependencies {
  /** Host folder that holds `node_modules`, or Python's packages. */
  readonly directory: string;
}

/** The layers of a build, as folders of this host that nobody writes to any more. */
export interface Artifact {
  /** Becomes `/code`. */
  readonly code: string;
  /** Becomes `/dependencies`; null: there are none, or npm or uv installed them (`Program.dependencies`). */
  readonly dependencies: string | null;
}

/**
 * What one instance is loaded with: all inline functions of a workspace in one language, or one handler function.
 * Immutable: every save makes new programs, and instances of the old ones end when their calls have.
 */
export interface Program {
  readonly workspace: string;
  /** Names it among the programs of its workspace: the language for inline functions, the function for a handler. */
  readonly name: string;
  readonly runtime: Runtime;
  readonly contract: Contract;
  /** inline: sources by function name. */
  readonly functions: Readonly<Record<string, InlineFunctionSource>>;
  /** handler, script: its files and which of them is started; none when it is of a build. */
  readonly files: readonly SourceFile[];
  /** Gets the layers of its build in place, from storage when they are not here yet; null: `files` are all there is. @throws STORAGE_UNAVAILABLE, FILE_DAMAGED */
  readonly artifact: (() => Promise<Artifact>) | null;
  readonly entrypoint: string | null;
  readonly functionNames: ReadonlySet<string>;
  readonly environment: Readonly<Record<string, string>>;
  /** Takes the values of its secrets out of a text (log lines, output, messages and stacks) before that is kept or sent; null: it has none. */
  readonly mask: ((text: string) => string) | null;
  readonly limits: ProgramLimits;
  readonly egress: EgressPolicy | null;
  readonly maxInstances: number;
  readonly concurrency: number;
  /** Gets the dependencies in place, installing them when they are not; null when the program has none. @throws INSTALL_FAILED */
  readonly dependencies: (() => Promise<ProgramDependencies>) | null;
}
