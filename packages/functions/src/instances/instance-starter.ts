import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { LoadReport, LoadRequest, Runtime } from "@treadle/runtimes";
import type { Mount, Sandbox } from "@treadle/sandbox";
import { usualLimits } from "../build-programs.ts";
import type { Program, ProgramLimits } from "../program.ts";
import type { FunctionsSettings } from "../settings.ts";
import { Instance, type InstanceListener } from "./instance.ts";
import type { Prewarmed } from "./prewarmed.ts";
import { type ProcessGround, type ProcessSettings, RuntimeProcess } from "./runtime-process.ts";

/** Where a handler's files appear inside: late files in the sandbox's own folder, so that a prewarmed process can take them. */
const CODE_DIRECTORY = "/run/treadle/code";

/**
 * How installed packages are mounted: the part of their folder, and where. For Node at the root, since its look-up of
 * `node_modules` ends there whatever folder it starts from.
 */
const DEPENDENCY_MOUNTS: Readonly<Record<string, { readonly folder: string; readonly target: string }>> = {
  node: { folder: "node_modules", target: "/node_modules" },
  python: { folder: "", target: "/dependencies" },
};

/** The settings a prewarmed process of a runtime is started with. */
export function usualProcessSettings(runtime: Runtime, settings: FunctionsSettings): ProcessSettings {
  return {
    runtime,
    limits: { ...usualLimits(settings), openFiles: settings.openFiles },
    heapBytes: settings.heapBytes,
    mounts: [],
    egress: null,
  };
}

/** Makes instances of programs: takes a prewarmed process where one fits, else starts one. */
export class InstanceStarter {
  readonly #ground: ProcessGround;
  readonly #prewarmed: Prewarmed;
  readonly #settings: FunctionsSettings;

  constructor(options: { ground: ProcessGround; prewarmed: Prewarmed; settings: FunctionsSettings }) {
    this.#ground = options.ground;
    this.#prewarmed = options.prewarmed;
    this.#settings = options.settings;
  }

  /**
   * Starts and loads an instance. Dependencies are put in place first.
   * @throws INSTALL_FAILED, SANDBOX_UNAVAILABLE, LOAD_FAILED, CRASHED, OUT_OF_MEMORY
   */
  async start(program: Program, listener: InstanceListener): Promise<{ instance: Instance; report: LoadReport }> {
    const dependencies = program.dependencies === null ? null : await program.dependencies();
    const process = await this.#process(program, dependencies?.directory ?? null);
    const instance = new Instance(process, program, this.#settings, listener);
    try {
      if (program.contract === "handler") await writeSource(join(process.sandbox.runDirectory, "code"), program);
      const report = await instance.load(this.#loadRequest(program, process.sandbox, dependencies !== null));
      return { instance, report };
    } catch (error) {
      void instance.kill("it did not load");
      throw error;
    }
  }

  async #process(program: Program, dependencies: string | null): Promise<RuntimeProcess> {
    const usual = usualProcessSettings(program.runtime, this.#settings);
    if (dependencies === null && isUsual(program.limits, this.#settings)) {
      const process = this.#prewarmed.take(program.runtime) ?? (await RuntimeProcess.start(this.#ground, usual));
      if (program.egress !== null) await process.sandbox.setEgress(program.egress);
      return process;
    }
    const mounts: Mount[] = [];
    const mount = DEPENDENCY_MOUNTS[program.runtime.language];
    if (dependencies !== null && mount !== undefined)
      mounts.push({ source: join(dependencies, mount.folder), target: mount.target, access: "read-only" });
    return RuntimeProcess.start(this.#ground, {
      runtime: program.runtime,
      limits: { ...program.limits, openFiles: this.#settings.openFiles },
      // A function with a limit of its own may use it: the heap grows with the limit.
      heapBytes: Math.max(
        this.#settings.heapBytes,
        program.limits.memoryBytes - (this.#settings.memoryBytes - this.#settings.heapBytes),
      ),
      mounts,
      egress: program.egress,
    });
  }

  #loadRequest(program: Program, sandbox: Sandbox, hasDependencies: boolean): LoadRequest {
    const { resultBytes, logBytes, logEntryCharacters } = this.#settings;
    const mount = DEPENDENCY_MOUNTS[program.runtime.language];
    return {
      contract: program.contract,
      ...(program.contract === "inline"
        ? { functions: program.functions }
        : {
            directory: sandbox.pathInside(CODE_DIRECTORY),
            entrypoint: program.entrypoint ?? program.runtime.defaultEntrypoint,
          }),
      ...(hasDependencies && mount !== undefined
        ? { dependencies: folderHolding(sandbox.pathInside(mount.target), mount.folder) }
        : {}),
      allowedModules: program.contract === "inline" ? this.#settings.allowedModules : null,
      environment: program.egress === null ? program.environment : { ...program.environment, TREADLE_EGRESS: "1" },
      limits: { resultBytes, logBytes, logEntryCharacters },
    };
  }
}

function isUsual(limits: ProgramLimits, settings: FunctionsSettings): boolean {
  const usual = usualLimits(settings);
  return (
    limits.memoryBytes === usual.memoryBytes &&
    limits.processes === usual.processes &&
    limits.cpus === usual.cpus &&
    limits.scratchBytes === usual.scratchBytes
  );
}

/** `/x` of `/x/node_modules`; the path itself where the packages lie in it directly. */
function folderHolding(path: string, folder: string): string {
  return folder === "" ? path : dirname(path);
}

async function writeSource(directory: string, program: Program): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o755 });
  for (const file of program.files) {
    const path = join(directory, file.path);
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await writeFile(path, file.content, { mode: 0o644 });
  }
}
