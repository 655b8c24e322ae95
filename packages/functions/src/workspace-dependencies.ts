import { isTreadleError } from "@treadle/errors";
import type { DependencyState, Store } from "@treadle/store";
import type { DependencySource } from "./build-programs.ts";
import { type DependencyInstaller, type InstallState, inferManifest, type ManifestFiles } from "./dependencies/index.ts";
import type { ProgramDependencies } from "./program.ts";

const COLLECT_INTERVAL_MS = 3_600_000;

/** The dependencies of a workspace in one language, with the live state of an installation under way. */
export type DependencyView = Omit<DependencyState, "workspace">;

/** What workspaces depend on: the manifests, kept in the store, and their installation, started by a save or the first call. */
export class WorkspaceDependencies implements AsyncDisposable {
  readonly #store: Store;
  readonly #installer: DependencyInstaller;
  readonly #infer: boolean;
  readonly #warn: (message: string, fields: object) => void;
  /** States by workspace, then language; loaded with the workspace. */
  readonly #states = new Map<string, Map<string, DependencyState>>();
  readonly #collectTimer: NodeJS.Timeout;

  constructor(options: {
    store: Store;
    installer: DependencyInstaller;
    /** Whether packages that code imports are added to the manifest. */
    infer: boolean;
    warn: (message: string, fields: object) => void;
  }) {
    this.#store = options.store;
    this.#installer = options.installer;
    this.#infer = options.infer;
    this.#warn = options.warn;
    this.#collectTimer = setInterval(() => void this.collect(), COLLECT_INTERVAL_MS).unref();
  }

  /** Where programs of a workspace get their packages from. */
  async sourceOf(workspace: string): Promise<DependencySource> {
    const states = await this.#load(workspace);
    return (language) => {
      const state = states.get(language);
      return state === undefined || isEmpty(state) ? null : () => this.#install(workspace, language);
    };
  }

  async list(workspace: string): Promise<DependencyView[]> {
    return [...(await this.#load(workspace)).values()].map(({ workspace: _workspace, ...view }) => view);
  }

  /**
   * Replaces the manifest of one language and starts its installation behind the caller.
   * @throws INSTALL_FAILED when the manifest is malformed or denied, UNKNOWN_RUNTIME, UNKNOWN_WORKSPACE, STORAGE_UNAVAILABLE
   */
  async set(workspace: string, language: string, files: ManifestFiles, inferred: readonly string[] = []): Promise<void> {
    this.#installer.check(language, files);
    const state = {
      workspace,
      language,
      manifest: files,
      lock: null,
      lockDigest: null,
      inferred,
      status: "none" as const,
      error: null,
      log: "",
    };
    await this.#store.dependencies.put(state);
    (await this.#load(workspace)).set(language, { ...state, updatedAt: Date.now() });
    if (!isEmpty(state)) void this.#install(workspace, language).catch(() => undefined);
  }

  /** Adds packages that code imports and no manifest names. Returns whether anything changed. */
  async infer(workspace: string, language: string, imports: readonly string[]): Promise<boolean> {
    if (!this.#infer || imports.length === 0) return false;
    const state = (await this.#load(workspace)).get(language);
    const { files, inferred } = inferManifest(language, imports, state?.manifest ?? {});
    if (inferred.length === 0) return false;
    await this.set(workspace, language, files, [...new Set([...(state?.inferred ?? []), ...inferred])].sort());
    return true;
  }

  /** Forgets a deleted workspace. */
  forget(workspace: string): void {
    this.#states.delete(workspace);
  }

  /** Removes installed packages that no workspace has used for long. */
  async collect(): Promise<void> {
    try {
      const states = await this.#store.dependencies.list();
      const ofBuilds = await this.#store.builds.installedDigests();
      await this.#installer.collect(new Set([...ofBuilds, ...states.flatMap(({ lockDigest }) => lockDigest ?? [])]));
    } catch (error) {
      this.#warn("unused dependencies could not be collected", { err: error });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#collectTimer);
    await this.#installer[Symbol.asyncDispose]();
  }

  async #load(workspace: string): Promise<Map<string, DependencyState>> {
    let states = this.#states.get(workspace);
    if (states === undefined) {
      const stored = await this.#store.dependencies.list({ workspace });
      states = this.#states.get(workspace) ?? new Map(stored.map((state) => [state.language, state]));
      this.#states.set(workspace, states);
    }
    return states;
  }

  async #install(workspace: string, language: string): Promise<ProgramDependencies> {
    const states = await this.#load(workspace);
    const asked = states.get(language);
    if (asked === undefined) throw new TypeError("dependencies without a state");
    /** Notes progress, unless the manifest was replaced meanwhile. */
    const note = (change: Partial<DependencyState>): DependencyState | null => {
      const current = states.get(language);
      if (current === undefined || current.manifest !== asked.manifest) return null;
      const next = { ...current, ...change, updatedAt: Date.now() };
      states.set(language, next);
      return next;
    };
    const onState = ({ status, log }: InstallState) => void (status !== "ready" && status !== "failed" && note({ status, log }));
    try {
      const installed = await this.#installer.resolveAndInstall(language, asked.manifest, {
        onState,
        ...(asked.lock === null ? {} : { lockText: asked.lock }),
      });
      if (states.get(language)?.status !== "ready") {
        await this.#keep(note({ status: "ready", lock: installed.lockText, lockDigest: installed.digest, error: null }));
      }
      return { directory: installed.directory };
    } catch (error) {
      const problem = isTreadleError(error) ? error.toJSON().error : { code: "INTERNAL", message: String(error) };
      await this.#keep(note({ status: "failed", error: problem }));
      throw error;
    }
  }

  async #keep(state: DependencyState | null): Promise<void> {
    if (state === null) return;
    try {
      const { updatedAt: _updatedAt, ...row } = state;
      await this.#store.dependencies.put(row);
    } catch (error) {
      this.#warn("the state of an installation could not be stored", { err: error, workspace: state.workspace });
    }
  }
}

function isEmpty({ manifest }: Pick<DependencyState, "manifest">): boolean {
  return Object.keys(manifest).length === 0;
}
