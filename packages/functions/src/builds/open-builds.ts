import { randomUUID } from "node:crypto";
import { mkdir, open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { TreadleError } from "@treadle/errors";
import type { Files } from "@treadle/files";
import type { Runtimes } from "@treadle/runtimes";
import type { SandboxDriver } from "@treadle/sandbox";
import { type BuildRecord, createExecutionId, type Store } from "@treadle/store";
import type { DependencyInstaller } from "../dependencies/index.ts";
import { removeTree } from "../dependencies/staging.ts";
import type { Artifact } from "../program.ts";
import { buildKey } from "./build-key.ts";
import { BuildQueue } from "./build-queue.ts";
import type { BuildSettings } from "./build-settings.ts";
import type { BuildTools } from "./build-work.ts";
import type { Build, BuildLogLine, BuildRequest, Builds, Source, SourceEntry, SourceInput } from "./builds.ts";
import { LayerFolders } from "./layers/layer-folders.ts";
import { readLog } from "./log/stored-log.ts";
import { sourceContents, sourceEntries } from "./source/read-source.ts";
import { takeArchive } from "./source/take-archive.ts";
import { takeGit } from "./source/take-git.ts";
import { stagingFolder } from "./staging-folder.ts";

/** How often is looked whether a build of another process has ended. */
const ELSEWHERE_MS = 1_000;
const COLLECT_MS = 600_000;
/** Dependency layers that no build has used for this long are fetched anew when they are wanted again. */
const KEEP_DEPENDENCIES_MS = 7 * 24 * 3600 * 1000;

export interface BuildsOptions {
  readonly store: Store;
  readonly files: Files;
  readonly driver: SandboxDriver;
  readonly runtimes: Runtimes;
  readonly installer: DependencyInstaller;
  /** Its folders `builds` and `layers` are ours alone. */
  readonly dataDirectory: string;
  readonly settings: BuildSettings;
  readonly warn: (message: string, fields: object) => void;
}

/**
 * Opens the builds of a data directory: removes what a process that died has left on disk, takes up what it was building, and begins with what waits.
 * @throws UNKNOWN_RUNTIME without Node, STORAGE_UNAVAILABLE
 */
export async function openBuilds(options: BuildsOptions): Promise<Builds> {
  const { store, files, driver, runtimes, installer, settings, warn, dataDirectory } = options;
  const node = runtimes.available.find(({ language }) => language === "node");
  if (node === undefined) throw new TreadleError("UNKNOWN_RUNTIME", "Nothing can be built without the runtime node.");
  const directory = join(dataDirectory, "builds");
  const workDirectory = join(directory, "work");
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await removeTree(workDirectory);
  await mkdir(workDirectory, { mode: 0o700 });
  const layers = new LayerFolders({
    directory: join(dataDirectory, "layers"),
    files,
    maxBytes: settings.layersBytes,
    mounts: driver.name !== "none",
  });
  await layers.sweep();
  const tools: BuildTools = { store, files, driver, installer, layers, settings, node, workDirectory };
  return new OpenBuilds(tools, { runtimes, holder: await holderOf(directory), warn });
}

class OpenBuilds implements Builds {
  readonly #tools: BuildTools;
  readonly #queue: BuildQueue;
  readonly #warn: BuildsOptions["warn"];
  readonly #listeners = new Set<Parameters<Builds["onEnd"]>[0]>();
  readonly #closing = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #changed = Promise.withResolvers<void>();

  constructor(
    tools: BuildTools,
    { runtimes, holder, warn }: { runtimes: Runtimes; holder: string; warn: BuildsOptions["warn"] },
  ) {
    this.#tools = tools;
    this.#warn = warn;
    this.#queue = new BuildQueue({ tools, runtimes, holder, warn, onEnd: (id, error) => void this.#announce(id, error) });
    this.#timer = setInterval(() => {
      this.collect().catch((error) => warn("Builds that nobody has could not be collected.", { reason: String(error) }));
    }, COLLECT_MS).unref();
  }

  async takeSource(input: SourceInput, signal?: AbortSignal): Promise<Source> {
    const { files, settings, workDirectory, driver, node } = this.#tools;
    await using staging = await stagingFolder(workDirectory);
    const limits = { maxBytes: settings.sourceMaxBytes, maxFiles: settings.sourceMaxFiles };
    const intake = { files, limits, signal, staging: staging.path, folder: input.folder };
    if (input.kind === "archive") return await takeArchive(input.stream, intake);
    const { gitHosts, gitTrusted } = settings;
    return await takeGit(input, { ...intake, driver, node, gitHosts, gitTrusted });
  }

  async request(request: BuildRequest): Promise<Build> {
    const { source, runtime, entrypoint, command } = request;
    const { build, isNew } = await this.#tools.store.builds.request({
      id: createExecutionId(),
      key: await buildKey(request),
      ...{ language: runtime.language, runtime: runtime.name, entrypoint, command },
      ...{ sourceSha256: source.sha256, sourceDigest: source.digest, sourceBytes: source.bytes, sourceFiles: source.files },
    });
    if (isNew) {
      this.#notify();
      this.#queue.wake();
    }
    return toBuild(build);
  }

  async get(id: string): Promise<Build | null> {
    const record = await this.#tools.store.builds.find(id);
    return record === null ? null : toBuild(record);
  }

  async ended(id: string, signal?: AbortSignal): Promise<Build> {
    while (true) {
      const changed = this.#changed.promise;
      const record = await this.#find(id);
      if (isEnded(record)) return toBuild(record);
      await this.#wait(changed, signal);
    }
  }

  async cancel(id: string): Promise<Build> {
    const cancelled = await this.#tools.store.builds.cancel(id);
    if (cancelled) {
      await this.#queue.stop(id);
      await this.#announce(id, null);
    }
    return toBuild(await this.#find(id));
  }

  async *log(id: string, after = 0, signal?: AbortSignal): AsyncIterable<BuildLogLine> {
    let last = after;
    while (true) {
      const changed = this.#changed.promise;
      const live = this.#queue.log(id);
      if (live !== undefined) {
        for await (const line of live.follow(last, signal)) {
          last = line.number;
          yield line;
        }
        return;
      }
      if (isEnded(await this.#find(id))) {
        const stored = await this.#tools.store.builds.log(id);
        if (stored !== null) yield* readLog(this.#tools.files, stored, last);
        return;
      }
      try {
        await this.#wait(changed, signal);
      } catch (error) {
        if (signal?.aborted === true) return;
        throw error;
      }
    }
  }

  async artifact(id: string): Promise<Artifact> {
    const { state, layers } = await this.#find(id);
    if (state !== "ready")
      throw new TreadleError("BUILD_FAILED", `The build is ${state}; only one that is ready can be started.`);
    const folderOf = async (kind: "code" | "dependencies") => {
      const layer = layers.find((each) => each.kind === kind);
      return layer === undefined ? null : this.#tools.layers.folder(layer.sha256);
    };
    const [code, dependencies] = await Promise.all([folderOf("code"), folderOf("dependencies")]);
    if (code === null) throw new TreadleError("FILE_DAMAGED", "The build has lost its code.");
    return { code, dependencies };
  }

  async installed(id: string): Promise<(() => Promise<{ readonly directory: string }>) | null> {
    const { store, installer } = this.#tools;
    if ((await store.builds.installation(id)) === null) return null;
    return async () => {
      // Read each time rather than kept: locks are long, and programs many.
      const installation = await store.builds.installation(id);
      if (installation === null) throw unknownBuild();
      const { language, files, lockText } = installation;
      return installer.resolveAndInstall(language, files, { lockText });
    };
  }

  async sourceEntries(id: string): Promise<SourceEntry[]> {
    return sourceEntries(this.#tools.files, (await this.#find(id)).sourceSha256);
  }

  async sourceContents(id: string, paths: ReadonlySet<string>, limit: number): Promise<Map<string, Buffer>> {
    return sourceContents(this.#tools.files, (await this.#find(id)).sourceSha256, paths, limit);
  }

  async collect(): Promise<number> {
    const { store, layers, settings } = this.#tools;
    const removed = await store.builds.prune(settings.keepUnusedMs);
    await store.dependencyLayers.prune(KEEP_DEPENDENCIES_MS);
    await layers.collect(await store.builds.knownLayers(await layers.present()));
    return removed.length;
  }

  onEnd(listener: Parameters<Builds["onEnd"]>[0]): void {
    this.#listeners.add(listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#closing.abort();
    this.#notify();
    await this.#queue[Symbol.asyncDispose]();
  }

  async #find(id: string): Promise<BuildRecord> {
    const record = await this.#tools.store.builds.find(id);
    if (record === null) throw unknownBuild();
    return record;
  }

  /** Until something changed here, or long enough for something to have changed elsewhere. */
  async #wait(changed: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (this.#closing.signal.aborted) throw new TreadleError("SERVER_BUSY", "The server is stopping.");
    const woken = Promise.withResolvers<void>();
    const wake = () => woken.resolve();
    const timer = setTimeout(wake, ELSEWHERE_MS);
    signal?.addEventListener("abort", wake);
    try {
      await Promise.race([changed, woken.promise]);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", wake);
    }
    signal?.throwIfAborted();
  }

  async #announce(id: string, error: TreadleError | null): Promise<void> {
    this.#notify();
    try {
      const build = await this.get(id);
      if (build === null) return;
      for (const listener of this.#listeners) listener(build, error);
    } catch (failure) {
      this.#warn("The end of a build could not be passed on.", { build: id, reason: String(failure) });
    }
  }

  #notify(): void {
    const { resolve } = this.#changed;
    this.#changed = Promise.withResolvers();
    resolve();
  }
}

function isEnded({ state }: BuildRecord): boolean {
  return state !== "queued" && state !== "building";
}

function toBuild({ sourceSha256: _stored, attempts: _attempts, ...build }: BuildRecord): Build {
  return build;
}

function unknownBuild(): TreadleError {
  return new TreadleError("UNKNOWN_DEPLOYMENT", "There is no such build (any more).");
}

/** Tells this data directory from those of other processes of the same database; made once. */
async function holderOf(directory: string): Promise<string> {
  const path = join(directory, "holder");
  const known = await readFile(path, "utf8").catch(() => "");
  if (known !== "") return known;
  const holder = randomUUID();
  {
    await using file = await open(`${path}.new`, "w", 0o600);
    await file.writeFile(holder);
    await file.sync();
  }
  await rename(`${path}.new`, path);
  return holder;
}
