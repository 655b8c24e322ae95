import { randomBytes } from "node:crypto";
import { dirname, join } from "node:path";
import type { LoadReport, LoadRequest, Runtime } from "@treadle/runtimes";
import type { Mount, Sandbox } from "@treadle/sandbox";
import { usualLimits } from "../build-programs.ts";
import type { Artifact, Program, ProgramLimits } from "../program.ts";
import type { FunctionsSettings } from "../settings.ts";
import { copyLayer, isSmallLayer, writeSource } from "./code-folders.ts";
import { FramesInstance } from "./frames-instance.ts";
import { FramesProcess } from "./frames-process.ts";
import { HttpInstance } from "./http-instance.ts";
import type { Instance, InstanceListener } from "./instance.ts";
import type { Prewarmed } from "./prewarmed.ts";
import { type ProcessGround, type ProcessSettings, RuntimeProcess } from "./runtime-process.ts";

/** Where code appears that came late, in the sandbox's own folder, so that a prewarmed process can take it; and where it is mounted. */
const LATE_CODE = "/run/treadle/code";
const CODE = "/code";
const DEPENDENCIES = "/dependencies";
/** Where a server listens that speaks HTTP. */
const SOCKET = "/tmp/http.sock";

/** Where JavaScript's look-up of `node_modules` ends, whatever folder it starts from. */
const NODE_MODULES = "/node_modules";

/** The settings a prewarmed process of a runtime is started with. */
export function usualProcessSettings(runtime: Runtime, settings: FunctionsSettings): ProcessSettings {
  return {
    runtime,
    launch: { transport: "frames", code: null, dependencies: null },
    limits: { ...usualLimits(settings), openFiles: settings.openFiles },
    heapBytes: settings.heapBytes,
    mounts: [],
    environment: {},
    egress: null,
  };
}

/** What a program needs of the file system before it can be started. */
interface Layers {
  /** Host folder; null: the program's files. */
  readonly code: string | null;
  /** Host folder of what a build fetched. */
  readonly dependencies: string | null;
  /** Host folder of what npm or uv installed. */
  readonly installed: string | null;
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
   * @throws INSTALL_FAILED, SANDBOX_UNAVAILABLE, LOAD_FAILED, CRASHED, OUT_OF_MEMORY, FILE_DAMAGED, STORAGE_UNAVAILABLE
   */
  async start(program: Program, listener: InstanceListener): Promise<{ instance: Instance; report: LoadReport }> {
    const [installed, artifact] = await Promise.all([program.dependencies?.() ?? null, program.artifact?.() ?? null]);
    const layers = layersOf(installed?.directory ?? null, artifact);
    const byFrames = program.contract === "inline" || program.runtime.transports[0] === "frames";
    return byFrames ? this.#startFrames(program, layers, listener) : this.#startHttp(program, layers, listener);
  }

  async #startFrames(program: Program, layers: Layers, listener: InstanceListener) {
    // What a build fetched may name the code by its usual place.
    const mayMove = layers.code === null || (layers.dependencies === null && (await isSmallLayer(layers.code)));
    const isLate = !isCompiled(program) && (program.contract === "inline" || mayMove);
    const frames = await this.#framesProcess(program, isLate ? { ...layers, code: null } : layers);
    const instance = new FramesInstance(frames, program, this.#settings, listener);
    const { sandbox } = frames.process;
    try {
      if (program.contract !== "inline" && isLate) {
        const target = join(sandbox.runDirectory, "code");
        await (layers.code === null ? writeSource(target, program.files) : copyLayer(layers.code, target));
      }
      const report = await instance.load(this.#loadRequest(program, sandbox, layers, isLate ? LATE_CODE : CODE));
      return { instance, report };
    } catch (error) {
      void instance.kill("it did not load");
      throw error;
    }
  }

  async #framesProcess(program: Program, layers: Layers): Promise<FramesProcess> {
    const mounts = mountsOf(layers, program.runtime);
    if (mounts.length === 0 && !isCompiled(program) && isUsual(program, this.#settings)) {
      const usual = usualProcessSettings(program.runtime, this.#settings);
      const frames = this.#prewarmed.take(program.runtime) ?? (await FramesProcess.start(this.#ground, usual));
      if (program.egress !== null) await frames.process.sandbox.setEgress(program.egress);
      return frames;
    }
    return FramesProcess.start(this.#ground, {
      ...this.#bounds(program),
      launch: {
        transport: "frames",
        code: layers.code === null ? null : CODE,
        dependencies: layers.dependencies === null ? null : DEPENDENCIES,
      },
      mounts,
      // Code that is linked in may look at it before anything is loaded.
      environment: isCompiled(program) ? this.#environmentOf(program) : {},
    });
  }

  async #startHttp(program: Program, layers: Layers, listener: InstanceListener) {
    const folder = layers.code === null ? await this.#ground.code.make(program.files) : null;
    const all = { ...layers, code: folder?.path ?? layers.code };
    const secret = randomBytes(24).toString("base64url");
    const hasDependencies = layers.dependencies !== null || layers.installed !== null;
    try {
      const process = await RuntimeProcess.start(this.#ground, {
        ...this.#bounds(program),
        launch: { transport: "http", code: CODE, dependencies: hasDependencies ? DEPENDENCIES : null },
        mounts: mountsOf(all, program.runtime),
        environment: {
          ...this.#environmentOf(program),
          TREADLE_SOCKET: SOCKET,
          TREADLE_CODE: CODE,
          ...(hasDependencies ? { TREADLE_DEPENDENCIES: DEPENDENCIES } : {}),
          TREADLE_CONTRACT: program.contract,
          OPEN_RUNTIMES_ENTRYPOINT: program.entrypoint ?? program.runtime.defaultEntrypoint,
          OPEN_RUNTIMES_SECRET: secret,
        },
      });
      if (folder !== null) void process.sandbox.exited.then(() => folder.remove());
      const instance = new HttpInstance(process, program, { secret, socket: SOCKET, settings: this.#settings, listener });
      await instance.untilReady();
      return { instance, report: await instance.load() };
    } catch (error) {
      await folder?.remove();
      throw error;
    }
  }

  #bounds(program: Program): Pick<ProcessSettings, "runtime" | "limits" | "heapBytes" | "egress"> {
    const { heapBytes, memoryBytes, openFiles } = this.#settings;
    const limit = Math.max(program.limits.memoryBytes, program.runtime.baseMemoryBytes);
    return {
      runtime: program.runtime,
      limits: { ...program.limits, memoryBytes: limit, openFiles },
      // A function with a limit of its own may use it: the heap grows with the limit.
      heapBytes: Math.max(heapBytes, limit - (memoryBytes - heapBytes)),
      egress: program.egress,
    };
  }

  #environmentOf(program: Program): Readonly<Record<string, string>> {
    return program.egress === null ? program.environment : { ...program.environment, TREADLE_EGRESS: "1" };
  }

  #loadRequest(program: Program, sandbox: Sandbox, layers: Layers, code: string): LoadRequest {
    const { resultBytes, logBytes, logEntryCharacters } = this.#settings;
    const dependencies = dependenciesInside(layers, program.runtime, sandbox);
    return {
      contract: program.contract,
      ...(program.contract === "inline"
        ? { functions: program.functions }
        : { directory: sandbox.pathInside(code), entrypoint: program.entrypoint ?? program.runtime.defaultEntrypoint }),
      ...(dependencies === null ? {} : { dependencies }),
      allowedModules: program.contract === "inline" ? this.#settings.allowedModules : null,
      environment: this.#environmentOf(program),
      limits: { resultBytes, logBytes, logEntryCharacters },
    };
  }
}

function layersOf(installed: string | null, artifact: Artifact | null): Layers {
  return { code: artifact?.code ?? null, dependencies: artifact?.dependencies ?? null, installed };
}

function mountsOf({ code, dependencies, installed }: Layers, runtime: Runtime): Mount[] {
  const mounts: Mount[] = [];
  const add = (source: string, target: string) => mounts.push({ source, target, access: "read-only" });
  if (code !== null) add(code, CODE);
  if (dependencies !== null) add(dependencies, DEPENDENCIES);
  if (installed !== null) {
    if (runtime.build.installer === "npm") add(join(installed, "node_modules"), NODE_MODULES);
    // Servers that are told a folder find it here; a frames server of npm's packages needs no more than the mount above.
    if (dependencies === null && (runtime.build.installer !== "npm" || runtime.transports[0] === "http"))
      add(installed, DEPENDENCIES);
  }
  return mounts;
}

/** The folder that holds `node_modules`, or Python's packages, as a frames server is told of it. */
function dependenciesInside(layers: Layers, runtime: Runtime, sandbox: Sandbox): string | null {
  if (layers.installed !== null && runtime.build.installer === "npm") return dirname(sandbox.pathInside(NODE_MODULES));
  return layers.installed === null && layers.dependencies === null ? null : sandbox.pathInside(DEPENDENCIES);
}

/** Whether what its build made is the very program that is started: that is there from the start, and cannot be prewarmed. */
function isCompiled({ runtime }: Program): boolean {
  return runtime.build.compile !== null;
}

function isUsual({ limits, runtime }: Program, settings: FunctionsSettings): boolean {
  const usual: ProgramLimits = usualLimits(settings);
  return (
    limits.memoryBytes === usual.memoryBytes &&
    runtime.baseMemoryBytes <= usual.memoryBytes &&
    limits.processes === usual.processes &&
    limits.cpus === usual.cpus &&
    limits.scratchBytes === usual.scratchBytes
  );
}
