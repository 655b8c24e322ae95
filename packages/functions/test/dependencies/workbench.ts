import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findRuntimes, type Runtimes } from "@treadle/runtimes";
import { createSandboxDriver, type SandboxDriver } from "@treadle/sandbox";
import {
  createDependencyInstaller,
  DEFAULT_DEPENDENCY_SETTINGS,
  type DependencyInstaller,
  type DependencySettings,
  type InstallState,
  type ManifestFiles,
} from "../../src/dependencies/index.ts";

/** A temporary folder with a real sandbox driver, from which installers are made. */
export class Workbench implements AsyncDisposable {
  readonly folder: string;
  readonly driver: SandboxDriver;
  readonly runtimes: Runtimes;

  private constructor(folder: string, driver: SandboxDriver, runtimes: Runtimes) {
    this.folder = folder;
    this.driver = driver;
    this.runtimes = runtimes;
  }

  /** @param folder what an earlier one left, by default a new one */
  static async set(folder?: string): Promise<Workbench> {
    folder ??= await mkdtemp(join(tmpdir(), "treadle-dependencies-"));
    const driver = await createSandboxDriver("bubblewrap", { stateDirectory: join(folder, "sandboxes"), warn: () => {} });
    return new Workbench(folder, driver, await findRuntimes());
  }

  get environments(): string {
    return join(this.folder, "dependencies");
  }

  /** @param registry where npm and uv are to look for packages; by default where this machine's do */
  installer(
    settings: Partial<DependencySettings> = {},
    registry?: { url: string },
    environment: NodeJS.ProcessEnv = {},
  ): DependencyInstaller {
    const own = {
      PATH: process.env.PATH,
      HOME: this.folder,
      NPM_CONFIG_REGISTRY: `${registry?.url}/`,
      UV_DEFAULT_INDEX: `${registry?.url}/simple`,
    };
    return createDependencyInstaller({
      driver: this.driver,
      runtimes: this.runtimes.available,
      directory: this.environments,
      settings: { ...DEFAULT_DEPENDENCY_SETTINGS, ...settings },
      warn: (message, fields) => console.error(message, fields),
      environment: registry === undefined ? { ...process.env, ...environment } : { ...own, ...environment },
    });
  }

  /** Everything in the environments' folder: languages, and what is temporary. */
  async leftovers(): Promise<string[]> {
    return (await readdir(this.environments).catch(() => [])).filter((name) => name.startsWith("."));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.driver[Symbol.asyncDispose]();
    await rm(this.folder, { recursive: true, force: true });
  }
}

export function packageJson(dependencies: Record<string, string>, rest: object = {}): ManifestFiles {
  return { "package.json": JSON.stringify({ dependencies, ...rest }) };
}

/** Gathers states, without repeating those that differ in the log only. */
export function states(): { onState: (state: InstallState) => void; seen: string[]; last: () => InstallState } {
  const all: InstallState[] = [];
  const seen: string[] = [];
  const onState = (state: InstallState) => {
    all.push(state);
    if (seen.at(-1) !== state.status) seen.push(state.status);
  };
  return { onState, seen, last: () => all.at(-1) as InstallState };
}

/** The error of a promise that must reject. */
export async function failure(promise: Promise<unknown>): Promise<{ code: string; message: string; details: { log: string } }> {
  const outcome = await promise.then(
    () => null,
    (error) => error,
  );
  if (outcome === null) throw new Error("it did not fail");
  return outcome;
}
