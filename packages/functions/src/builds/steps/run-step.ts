import type { Runtime } from "@treadle/runtimes";
import type { Mount, RootSpec, SandboxDriver } from "@treadle/sandbox";
import { registryHost, withPort } from "../../dependencies/registry-access.ts";
import { runTool } from "../../sandboxed-tools/run-tool.ts";
import type { BuildSettings } from "../build-settings.ts";
import type { BuildLog } from "../log/build-log.ts";
import { stepFailure } from "./build-failure.ts";

const OPEN_FILES = 16_384;
/** Files and folders that all steps of a build may have on disk. */
const MOST_FILES = 400_000;

/** One program of a build. */
export interface StepRun {
  /** As the log and errors name it. */
  readonly name: "fetch" | "command" | "compile";
  readonly command: readonly string[];
  readonly root: RootSpec;
  readonly mounts: readonly Mount[];
  readonly environment: Readonly<Record<string, string>>;
  /** Registries that may be reached, as hosts or addresses; null: no way out. */
  readonly registries: readonly string[] | null;
}

/** What the steps of one build share. */
export interface StepGround {
  readonly driver: SandboxDriver;
  readonly settings: BuildSettings;
  /** Runs the relay by which `fetch` gets out. */
  readonly node: Runtime;
  /** Holds all that the steps may write. */
  readonly directory: string;
  readonly sourceBytes: number;
  /** When the build has to be done, on the clock of `performance`. */
  readonly deadline: number;
  readonly log: BuildLog;
  readonly signal: AbortSignal;
}

/**
 * Runs a step to its end, its output going to the log.
 * @throws BUILD_FAILED with the limit or the exit status and the last lines; SANDBOX_UNAVAILABLE; the reason of `signal` when that ended it
 */
export async function runStep(step: StepRun, ground: StepGround): Promise<void> {
  const { settings, log, signal } = ground;
  signal.throwIfAborted();
  const output = log.output();
  const began = performance.now();
  const end = await runTool(ground.driver, {
    command: step.command,
    environment: { HOME: "/tmp", TMPDIR: "/tmp", ...step.environment },
    workingDirectory: "/source",
    root: step.root,
    mounts: step.mounts,
    limits: {
      memoryBytes: settings.memoryBytes,
      processes: settings.processes,
      cpus: settings.cpus,
      scratchBytes: Math.floor(settings.memoryBytes / 2),
      openFiles: OPEN_FILES,
    },
    timeoutMs: Math.max(1, ground.deadline - performance.now()),
    disk: { directory: ground.directory, bytes: settings.diskBytes + ground.sourceBytes, files: MOST_FILES },
    network:
      step.registries === null ? null : { policy: { allow: [], trusted: step.registries.map(placeOf) }, node: ground.node },
    signal,
    onOutput: output.write,
  });
  output.end();
  if (end.stopped) signal.throwIfAborted();
  if (end.limit !== null || end.exit.code !== 0) throw stepFailure(step.name, end, output.lastLines, settings);
  log.say(`${step.name} done in ${seconds(performance.now() - began)}.`);
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function placeOf(registry: string): string {
  return registry.includes("://") ? registryHost(registry) : withPort(registry);
}
