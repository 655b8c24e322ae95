import { mkdirSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TreadleError } from "@treadle/errors";
import type { ControlGroups } from "../cgroup/control-group.ts";
import { openControlGroups } from "../cgroup/open-control-groups.ts";
import { RootImages } from "../root/root-image.ts";
import type { Finding, Sandbox, SandboxDriver, SandboxSpec } from "../sandbox.ts";
import { checkMounts, checkSpec } from "../sandbox-spec.ts";
import { seccompFilter } from "../seccomp/filter.ts";
import { StateDirectory } from "../state-directory.ts";
import { bubblewrapOptions, ENV_TARGET, innerCommand, type Mode, SETPRIV_TARGET, USER_MODE_ID } from "./arguments.ts";
import { BubblewrapSandbox } from "./bubblewrap-sandbox.ts";
import { launch } from "./launch.ts";
import { type Bubblewrap, findBubblewrap, findProgram, openFilesCeiling } from "./machine.ts";
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
  readonly groups: ControlGroups;
  readonly seccompFile: string;
  readonly openFiles: number;
  readonly warn: DriverOptions["warn"];
}

class BubblewrapDriver implements SandboxDriver {
  readonly name = "bubblewrap";
  readonly #ground: Ground;
  readonly #userIds: UserIds;
  readonly #live = new Set<Sandbox>();
  #closed = false;

  constructor(ground: Ground) {
    this.#ground = ground;
    this.#userIds = new UserIds(ground.state.name);
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

  async #start(
    spec: SandboxSpec,
    userId: number,
    image: Awaited<ReturnType<RootImages["prepare"]>>,
    accounts: { passwd: string; group: string },
  ): Promise<Sandbox> {
    const { state, groups, mode, bubblewrap, seccompFile, warn } = this.#ground;
    const id = state.newId();
    const runDirectory = state.runDirectory(id);
    const layout = { mode, bubblewrap, image, spec, runDirectory, accounts, userId };
    mkdirSync(runDirectory, { mode: 0o755 });
    const group = groups.create(id, spec.limits);
    const launched = await launch({
      bubblewrap: bubblewrap.path,
      options: bubblewrapOptions(layout),
      command: innerCommand(layout),
      joinFiles: group.joinFiles,
      openFiles: Math.min(spec.limits.openFiles, this.#ground.openFiles),
      processes: null,
      seccompFile,
    });
    const sandbox = new BubblewrapSandbox({
      id,
      launched,
      group,
      runDirectory,
      warn,
      release: async () => {
        this.#userIds.release(userId);
      },
    });
    this.#live.add(sandbox);
    void sandbox.exited.then(() => this.#live.delete(sandbox));
    return sandbox;
  }

  async examine(): Promise<Finding[]> {
    return [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([...this.#live].map((sandbox) => sandbox.kill()));
    this.#ground.groups.close();
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

async function requireProgram(name: string, debianPackage: string): Promise<string> {
  const path = await findProgram(name);
  if (path === null) {
    throw new TreadleError("SANDBOX_UNAVAILABLE", `${name} is not installed; \`apt-get install -y ${debianPackage}\` gets it.`);
  }
  return path;
}

/**
 * The default driver: Linux namespaces made by bubblewrap, control groups, a seccomp filter, no capabilities. On creation it
 * removes what an earlier life with the same `stateDirectory` left: processes, control groups, run directories, drafts of
 * root images. Throws SANDBOX_UNAVAILABLE when this machine cannot build sandboxes, DATA_DIRECTORY_LOCKED while another
 * driver uses the directory.
 */
export async function createBubblewrapDriver(options: DriverOptions): Promise<SandboxDriver> {
  const bubblewrap = await findBubblewrap();
  if (!bubblewrap) {
    throw new TreadleError("SANDBOX_UNAVAILABLE", "bubblewrap is not installed; `apt-get install -y bubblewrap` gets it.");
  }
  const mode: Mode = process.geteuid?.() === 0 ? "root" : "user";
  const copied =
    mode === "root"
      ? [
          { source: await requireProgram("setpriv", "util-linux"), target: SETPRIV_TARGET },
          { source: await requireProgram("env", "coreutils"), target: ENV_TARGET },
        ]
      : [];
  const state = await StateDirectory.open(options.stateDirectory);
  const groups = openControlGroups(state.name);
  if (!groups) throw new TreadleError("SANDBOX_UNAVAILABLE", "No control groups.");
  await groups.sweep();
  const images = new RootImages(join(state.path, "roots"), copied);
  await images.sweep();
  return new BubblewrapDriver({
    mode,
    bubblewrap,
    state,
    images,
    groups,
    seccompFile: await writeSeccompFile(state),
    openFiles: await openFilesCeiling(),
    warn: options.warn,
  });
}
