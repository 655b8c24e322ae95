import { createHash } from "node:crypto";
import { mkdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { TreadleError } from "@treadle/errors";
import type { Runtime } from "@treadle/runtimes";
import type { SandboxDriver } from "@treadle/sandbox";
import { Turnstile } from "../turnstile.ts";
import type { DependencySettings } from "./dependency-settings.ts";
import type { CheckedLock, Ecosystem, InstallContext } from "./ecosystem.ts";
import { EnvironmentFolders } from "./environment-folders.ts";
import { InstallSandbox } from "./install-sandbox.ts";
import type { InstalledDependencies } from "./install-state.ts";
import { Installation, type StateListener } from "./installation.ts";
import type { ManifestFiles } from "./manifest-files.ts";
import { NodeEcosystem } from "./node/node-ecosystem.ts";
import { PythonEcosystem } from "./python/python-ecosystem.ts";
import { seal } from "./seal.ts";

/** Part of each digest: raised when environments of older servers are no longer to be used. */
const LAYOUT = 1;
/** A failure is answered again without trying for this long, so that a burst of calls is one attempt. */
const RETRY_PAUSE_MS = 3000;

export interface DependencyInstallerOptions {
  readonly driver: SandboxDriver;
  /** The languages of this machine; `node` must be among them, since npm and the way to the registry need it. */
  readonly runtimes: readonly Runtime[];
  /** Folder of the environments. */
  readonly directory: string;
  readonly settings: DependencySettings;
  readonly warn: (message: string, fields: object) => void;
  /** Where the operator's npm, pip and uv configuration is found; by default this process's environment. */
  readonly environment?: NodeJS.ProcessEnv;
}

export interface InstallOptions {
  /** Told of every change of state, the last one (`ready` or `failed`) included, before the promise settles. */
  readonly onState?: StateListener;
  /** The lock an earlier installation of the same manifest returned: skips resolving, and everything when it is installed. */
  readonly lockText?: string;
}

/**
 * Installs the dependencies of workspaces. Npm and uv run in sandboxes that reach only the operator's registries, and packages run none of
 * their code there unless the operator allows it. Equal locks share one folder; the same work is done once however many ask for it at a time.
 */
export class DependencyInstaller implements AsyncDisposable {
  readonly #ecosystems: ReadonlyMap<string, Ecosystem>;
  readonly #settings: DependencySettings;
  readonly #folders: EnvironmentFolders;
  readonly #sandbox: InstallSandbox;
  readonly #turnstile: Turnstile;
  readonly #warn: DependencyInstallerOptions["warn"];
  readonly #stopping = new AbortController();
  /** By request, and by digest: who asks for what is under way joins it. */
  readonly #installations = new Map<string, Installation>();
  readonly #installing = new Map<string, Promise<InstalledDependencies>>();
  readonly #failures = new Map<string, unknown>();

  constructor({ driver, runtimes, directory, settings, warn, environment = process.env }: DependencyInstallerOptions) {
    const ecosystems = new Map<string, Ecosystem>();
    const node = runtimes.find(({ language }) => language === "node");
    const python = runtimes.find(({ language }) => language === "python");
    if (node === undefined)
      throw new TreadleError("UNKNOWN_RUNTIME", "Dependencies cannot be installed without the runtime node.");
    ecosystems.set("node", new NodeEcosystem(node, settings, environment));
    if (python !== undefined) ecosystems.set("python", new PythonEcosystem(python, settings, environment));
    this.#ecosystems = ecosystems;
    this.#settings = settings;
    this.#folders = new EnvironmentFolders(directory);
    this.#sandbox = new InstallSandbox(driver, settings, node);
    this.#turnstile = new Turnstile(settings.concurrent);
    this.#warn = warn;
  }

  /**
   * Checks a manifest as far as that is possible without a registry: form, names, no addresses, the operator's lists.
   * @throws INSTALL_FAILED, UNKNOWN_RUNTIME
   */
  check(language: string, files: ManifestFiles): void {
    this.#ecosystem(language).check(files);
  }

  /**
   * From a manifest (`package.json` with or without `package-lock.json`; `requirements.txt`, `pyproject.toml` with or without
   * `uv.lock`) to a folder ready to be mounted.
   * @throws INSTALL_FAILED with the cause in one sentence and the end of the log in the details; UNKNOWN_RUNTIME, SANDBOX_UNAVAILABLE, STORAGE_UNAVAILABLE, SERVER_BUSY
   */
  async resolveAndInstall(
    language: string,
    files: ManifestFiles,
    { onState, lockText }: InstallOptions = {},
  ): Promise<InstalledDependencies> {
    const ecosystem = this.#ecosystem(language);
    const key = sha256([language, Object.entries(files).toSorted(), lockText ?? null]);
    let installation = this.#installations.get(key);
    if (installation === undefined) {
      const failure = this.#failures.get(key);
      const started = new Installation((self) =>
        failure === undefined ? this.#installFrom(ecosystem, files, lockText, self) : Promise.reject(failure),
      );
      installation = started;
      this.#installations.set(key, started);
      started.outcome.catch((error) => this.#rememberFailure(key, error)).finally(() => this.#installations.delete(key));
    }
    installation.follow(onState);
    return installation.outcome;
  }

  /** Removes what installations that were cut off have left. To be called before the first installation. */
  sweep(): Promise<void> {
    return this.#folders.sweep();
  }

  /** Removes environments that are not in use and have not been for `keepUnusedMs`. Returns how many. */
  collect(inUseDigests: ReadonlySet<string>): Promise<number> {
    return this.#folders.collect(new Set([...inUseDigests, ...this.#installing.keys()]), this.#settings.keepUnusedMs);
  }

  /** Ends the installations under way and waits until nothing of them is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await Promise.allSettled([...this.#installations.values()].map(({ outcome }) => outcome));
  }

  #ecosystem(language: string): Ecosystem {
    const found = this.#ecosystems.get(language);
    if (found === undefined)
      throw new TreadleError(
        "UNKNOWN_RUNTIME",
        `Dependencies of the language ${JSON.stringify(language)} cannot be installed on this server.`,
      );
    return found;
  }

  async #installFrom(
    ecosystem: Ecosystem,
    files: ManifestFiles,
    lockText: string | undefined,
    installation: Installation,
  ): Promise<InstalledDependencies> {
    if (this.#stopping.signal.aborted) throw new TreadleError("SERVER_BUSY", "The server is stopping.");
    ecosystem.check(files);
    const lock =
      lockText === undefined
        ? await this.#inContext(installation, (context) => ecosystem.resolve(files, context))
        : ecosystem.readLock(lockText);
    const { language, name } = ecosystem.runtime;
    const digest = sha256([LAYOUT, language, name, process.platform, process.arch, this.#settings.allowScripts, lock.text]);
    const present = await this.#folders.find(language, digest, ecosystem.mounted);
    if (present !== null) return present;
    installation.installing();
    const joined = this.#installing.get(digest);
    if (joined !== undefined) {
      installation.log.line("The same packages are being installed for another workspace; waiting for that.");
      return joined;
    }
    const installed = this.#install(ecosystem, lock, digest, installation).finally(() => this.#installing.delete(digest));
    this.#installing.set(digest, installed);
    return installed;
  }

  async #install(
    ecosystem: Ecosystem,
    lock: CheckedLock,
    digest: string,
    installation: Installation,
  ): Promise<InstalledDependencies> {
    const { language } = ecosystem.runtime;
    await this.#inContext(installation, async (context) => {
      await ecosystem.install(lock, context);
      const target = join(context.staging.environment, ecosystem.folder);
      const made = await context.staging.projectFolder(ecosystem.folder);
      // Without any package the installers make no folder.
      await (made === null ? mkdir(target) : rename(made, target));
      await this.#folders.publish(context.staging, language, digest, {
        lockText: lock.text,
        packages: lock.packages,
        skippedScripts: this.#settings.allowScripts ? [] : lock.withScripts,
        bytes: await seal(target),
      });
    });
    const installed = await this.#folders.find(language, digest, ecosystem.mounted);
    if (installed === null) throw new TreadleError("STORAGE_UNAVAILABLE", "The installed packages vanished from the disk.");
    return installed;
  }

  /** Runs one stage in a folder of its own, when there is a place for it. */
  #inContext<T>(installation: Installation, stage: (context: InstallContext) => Promise<T>): Promise<T> {
    const task = async () => {
      await using staging = await this.#folders.stage();
      return await stage({ staging, sandbox: this.#sandbox, log: installation.log, signal: this.#stopping.signal });
    };
    return this.#turnstile.pass(task, () => installation.log.line("Waiting for other installations to end."));
  }

  #rememberFailure(key: string, error: unknown): void {
    if (error instanceof TreadleError && error.code === "INTERNAL") this.#warn("an installation failed", { error: error.cause });
    if (this.#failures.has(key)) return;
    this.#failures.set(key, error);
    setTimeout(() => this.#failures.delete(key), RETRY_PAUSE_MS).unref();
  }
}

/** Makes an installer; see `DependencyInstaller`. */
export function createDependencyInstaller(options: DependencyInstallerOptions): DependencyInstaller {
  return new DependencyInstaller(options);
}

function sha256(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex");
}
