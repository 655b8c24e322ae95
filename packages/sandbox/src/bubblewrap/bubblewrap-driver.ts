import { chmodSync, mkdirSync } from "node:fs";
import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TreadleError } from "@treadle/errors";
import type { ControlGroups } from "../cgroup/control-group.ts";
import { NoControlGroup } from "../cgroup/no-control-group.ts";
import { openControlGroups } from "../cgroup/open-control-groups.ts";
import { Egress } from "../egress/egress.ts";
import { type RootImage, RootImages } from "../root/root-image.ts";
import type { Finding, Sandbox, SandboxDriver, SandboxSpec } from "../sandbox.ts";
import { checkMounts, checkSpec } from "../sandbox-spec.ts";
import { seccompFilter } from "../seccomp/filter.ts";
import { StateDirectory } from "../state-directory.ts";
import { Watchdog } from "../watchdog/watchdog.ts";
import {
  bubblewrapOptions,
  ENV_TARGET,
  innerCommand,
  type Layout,
  type Mode,
  PRLIMIT_TARGET,
  SETPRIV_TARGET,
  USER_MODE_ID,
} from "./arguments.ts";
import { BubblewrapSandbox } from "./bubblewrap-sandbox.ts";
import { examineMachine } from "./examine.ts";
import { Launcher, type Prepared } from "./launch.ts";
import { giveTo } from "./lent-directories.ts";
import { type Bubblewrap, findBubblewrap, findProgram, openFilesCeiling } from "./machine.ts";
import { Spares } from "./spares.ts";
import { trial } from "./trial.ts";
import { UserIds } from "./user-ids.ts";

/** What a driver is given. */
export interface DriverOptions {
  /** Folder for run directories and root images; only one driver uses it at a time. Made when missing. */
  readonly stateDirectory: string;
  /** Told once about everything that runs weaker than it should. */
  readonly warn: (message: string, fields?: object) => void;
}

/** What was found out once about this machine. */
interface Ground {
  readonly mode: Mode;
  readonly bubblewrap: Bubblewrap;
  readonly state: StateDirectory;
  readonly images: RootImages;
  /** Null where this user may make no control groups. */
  readonly groups: ControlGroups | null;
  readonly launcher: Launcher;
  readonly seccompFile: string;
  readonly openFiles: number;
  readonly warn: DriverOptions["warn"];
}

class BubblewrapDriver implements SandboxDriver {
  readonly name = "bubblewrap";
  readonly #ground: Ground;
  readonly #userIds: UserIds;
  readonly #watchdog: Watchdog | null;
  readonly #countsProcesses: boolean;
  readonly #spares: Spares<{ id: string; prepared: Prepared }>;
  readonly #live = new Set<Sandbox>();
  #closed = false;

  constructor(ground: Ground) {
    this.#ground = ground;
    this.#userIds = new UserIds(ground.state.name);
    this.#watchdog = ground.groups?.controls.memory ? null : new Watchdog();
    this.#countsProcesses = ground.groups?.controls.processes ?? false;
    this.#spares = new Spares(() => {
      const id = ground.state.newId();
      return { id, prepared: ground.launcher.prepare(ground.groups?.create(id) ?? new NoControlGroup()) };
    });
  }

  async spawn(spec: SandboxSpec): Promise<Sandbox> {
    if (this.#closed) throw new TreadleError("SANDBOX_UNAVAILABLE", "The sandbox driver has been closed.");
    const { state, images, mode } = this.#ground;
    checkSpec(spec);
    const userId = mode === "root" ? this.#userIds.take() : USER_MODE_ID;
    if (userId === null) throw new TreadleError("SANDBOX_UNAVAILABLE", "All 4096 user ids for sandboxes are in use.");
    try {
      const [image, accounts] = await Promise.all([images.prepare(spec.root), state.accounts(userId), checkMounts(spec)]);
      return await this.#start(spec, userId, image, accounts);
    } catch (error) {
      this.#userIds.release(userId);
      if (error instanceof TreadleError) throw error;
      throw new TreadleError("SANDBOX_UNAVAILABLE", `The sandbox could not be started: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  async #start(spec: SandboxSpec, userId: number, image: RootImage, accounts: Layout["accounts"]): Promise<Sandbox> {
    const { state, mode, bubblewrap, warn } = this.#ground;
    const { id, prepared } = this.#spares.take();
    const { group } = prepared;
    const runDirectory = state.runDirectory(id);
    const egress = new Egress(runDirectory);
    const processes = this.#countsProcesses ? null : spec.limits.processes;
    // Inside the user namespace bubblewrap's reaper counts as well.
    const innerProcesses = mode === "user" && processes !== null ? processes + 1 : null;
    const layout: Layout = { mode, bubblewrap, image, spec, runDirectory, accounts, userId, innerProcesses };
    try {
      mkdirSync(runDirectory);
      // The sandbox has another user, whatever our umask says.
      chmodSync(runDirectory, 0o755);
      if (mode === "root") await giveTo(userId, userId, spec.mounts);
      if (spec.egress) await egress.set(spec.egress);
      group.setLimits(spec.limits);
      const launched = prepared.start({
        bubblewrap: bubblewrap.path,
        options: bubblewrapOptions(layout),
        command: innerCommand(layout),
        openFiles: Math.min(spec.limits.openFiles, this.#ground.openFiles),
        processes: mode === "root" ? processes : null,
        seccompFile: this.#ground.seccompFile,
      });
      if (group instanceof NoControlGroup) group.attach(launched.init);
      const release = () => this.#release(spec, userId);
      const { limits } = spec;
      const sandbox = new BubblewrapSandbox({
        ...{ id, launched, limits, group, egress, runDirectory, release, warn },
        watchdog: this.#watchdog,
      });
      this.#live.add(sandbox);
      void sandbox.exited.then(() => this.#live.delete(sandbox));
      // Closed while this one was being made: nobody else would end it.
      if (this.#closed) void sandbox.kill();
      return sandbox;
    } catch (error) {
      await Promise.allSettled([prepared.discard(), egress.set(null)]);
      await rm(runDirectory, { recursive: true, force: true });
      throw error;
    }
  }

  async #release(spec: SandboxSpec, userId: number): Promise<void> {
    if (this.#ground.mode === "user") return;
    try {
      await giveTo(process.geteuid?.() ?? 0, process.getegid?.() ?? 0, spec.mounts);
    } finally {
      this.#userIds.release(userId);
    }
  }

  async examine(): Promise<Finding[]> {
    const findings = await examineMachine();
    const started = performance.now();
    const failure = await trial(this);
    const milliseconds = Math.round(performance.now() - started);
    findings.push(
      failure === null
        ? { name: "trial sandbox", status: "ok", message: `A sandbox was started and left in ${milliseconds} ms.` }
        : { name: "trial sandbox", status: "missing", message: `A sandbox could not be started: ${failure}` },
    );
    return findings;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([this.#spares.close(), ...[...this.#live].map((sandbox) => sandbox.kill())]);
    this.#ground.groups?.close();
    await this.#ground.state.close();
  }
}

async function writeSeccompFile(state: StateDirectory): Promise<string> {
  const filter = seccompFilter(process.arch);
  if (!filter) throw new TreadleError("SANDBOX_UNAVAILABLE", `There is no seccomp filter for the architecture ${process.arch}.`);
  const path = join(state.path, `seccomp-${process.arch}.bpf`);
  await writeFile(`${path}.part`, filter, { mode: 0o600 });
  await rename(`${path}.part`, path);
  return path;
}

async function requireProgram(name: string, debianPackage: string, target: string) {
  const source = await findProgram(name);
  if (source === null) {
    throw new TreadleError("SANDBOX_UNAVAILABLE", `${name} is not installed; \`apt-get install -y ${debianPackage}\` gets it.`);
  }
  return { source, target };
}

/** Programs that the sandbox itself needs inside. */
function ownPrograms(mode: Mode, groups: ControlGroups | null) {
  if (mode === "root") {
    return Promise.all([requireProgram("setpriv", "util-linux", SETPRIV_TARGET), requireProgram("env", "coreutils", ENV_TARGET)]);
  }
  return groups?.controls.processes ? [] : Promise.all([requireProgram("prlimit", "util-linux", PRLIMIT_TARGET)]);
}

function warnOfWeakness(groups: ControlGroups | null, bubblewrap: Bubblewrap, warn: DriverOptions["warn"]): void {
  const { memory = false, processes = false, cpu = false } = groups?.controls ?? {};
  if (!memory || !processes) {
    warn(
      "Sandboxes are bounded by rlimits and a memory watchdog instead of control groups: memory can overshoot for a tenth of a second, CPU is not bounded. `treadle doctor` says how to change that.",
      { memory, processes, cpu },
    );
  } else if (!cpu) {
    warn("Control groups here do not bound CPU: `cpus` limits have no effect. `treadle doctor` says how to change that.");
  }
  if (!bubblewrap.sizedTmpfs) {
    warn(`bubblewrap ${bubblewrap.version} cannot bound the scratch directory by itself; it is bounded by the memory limit.`);
  }
}

/**
 * The default driver: Linux namespaces made by bubblewrap, control groups, a seccomp filter, no capabilities. On creation it
 * removes what an earlier life with the same `stateDirectory` left (processes, control groups, run directories, drafts of
 * root images) and starts one trial sandbox. Throws SANDBOX_UNAVAILABLE when this machine cannot build sandboxes,
 * DATA_DIRECTORY_LOCKED while another driver uses the directory.
 */
export async function createBubblewrapDriver(options: DriverOptions): Promise<SandboxDriver> {
  const { warn } = options;
  const bubblewrap = await findBubblewrap();
  if (!bubblewrap) {
    throw new TreadleError("SANDBOX_UNAVAILABLE", "bubblewrap is not installed; `apt-get install -y bubblewrap` gets it.");
  }
  const mode: Mode = process.geteuid?.() === 0 ? "root" : "user";
  const state = await StateDirectory.open(options.stateDirectory);
  let groups: ControlGroups | null = null;
  try {
    groups = openControlGroups(state.name);
    const swept = await groups?.sweep();
    if (swept) warn(`An earlier run ended without cleaning up; ${swept} control groups of its sandboxes have been removed.`);
    if (!bubblewrap.sizedTmpfs && !groups?.controls.memory) {
      throw new TreadleError(
        "SANDBOX_UNAVAILABLE",
        `Nothing would bound the scratch directory: bubblewrap ${bubblewrap.version} is older than 0.7 and control groups are not available.`,
      );
    }
    const images = new RootImages(join(state.path, "roots"), await ownPrograms(mode, groups));
    await images.sweep();
    // Without control groups the watchdog has to know each sandbox's pid 1.
    const launcher = await Launcher.create(!groups?.controls.memory);
    const [seccompFile, openFiles] = await Promise.all([writeSeccompFile(state), openFilesCeiling()]);
    const driver = new BubblewrapDriver({ mode, bubblewrap, state, images, groups, launcher, seccompFile, openFiles, warn });
    const failure = await trial(driver);
    if (failure !== null) {
      const remedy = (await examineMachine()).find(({ status }) => status === "missing")?.remedy;
      throw new TreadleError(
        "SANDBOX_UNAVAILABLE",
        `A trial sandbox could not be started: ${failure}${remedy === undefined ? "" : ` Remedy: ${remedy}`}`,
      );
    }
    warnOfWeakness(groups, bubblewrap, warn);
    return driver;
  } catch (error) {
    groups?.close();
    await state.close();
    throw error;
  }
}
