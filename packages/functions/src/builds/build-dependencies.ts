import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { isTreadleError } from "@treadle/errors";
import type { Runtime } from "@treadle/runtimes";
import type { BuildInstallation, BuildRecord, DependencyLayerRecord } from "@treadle/store";
import type { InstalledDependencies } from "../dependencies/index.ts";
import { dependencyKey } from "./build-key.ts";
import type { BuildTools, BuildWork } from "./build-work.ts";
import { withDevelopmentDependencies } from "./development-dependencies.ts";
import { type WalkedTree, walkTree } from "./layers/pack-layer.ts";
import { packTree } from "./layers/pack-tree.ts";
import { readLayer } from "./layers/read-layer.ts";
import { unpackLayer } from "./layers/unpack-layer.ts";
import { isManifest, namesPackages, rootManifests } from "./manifest-files.ts";
import { buildFailure } from "./steps/build-failure.ts";
import { credentialsOf } from "./steps/credentials.ts";
import { runStep } from "./steps/run-step.ts";

/** Fetches under way in this process, by key: who wants the same waits, and finds it there. */
const fetching = new Map<string, Promise<unknown>>();

/** The dependency layer of a build whose runtime fetches one: the one fetched before for the same manifests, else fetched now. */
export async function fetchedLayer(
  record: BuildRecord,
  runtime: Runtime,
  tools: BuildTools,
  work: BuildWork,
): Promise<DependencyLayerRecord> {
  // Also where nothing is fetched: what was fetched before may name its registry.
  if (runtime.build.fetch !== null) work.log.hide(await credentialsOf(runtime.build.fetch));
  const manifests: [string, string][] = [];
  const names = runtime.build.manifestFiles;
  await readLayer(
    tools.files,
    record.sourceSha256,
    async ({ path, kind, content }) => {
      if (kind !== "file" || !isManifest(path, names)) return;
      const hash = createHash("sha256");
      for await (const chunk of content) hash.update(chunk);
      manifests.push([path, hash.digest("hex")]);
    },
    work.signal,
  );
  const key = await dependencyKey(runtime, manifests);
  while (fetching.has(key)) {
    work.log.say("Another build fetches the same dependencies; waiting for that.");
    await fetching.get(key)?.catch(() => {});
    work.signal.throwIfAborted();
  }
  const one = fetchOnce(key, record, runtime, tools, work).finally(() => fetching.delete(key));
  fetching.set(key, one);
  return one;
}

async function fetchOnce(
  key: string,
  record: BuildRecord,
  runtime: Runtime,
  tools: BuildTools,
  work: BuildWork,
): Promise<DependencyLayerRecord> {
  const present = await tools.store.dependencyLayers.use(key);
  if (present !== null) {
    try {
      await tools.layers.folder(present.sha256);
      work.log.say("Dependencies: fetched before for the same manifest files.");
      return present;
    } catch (error) {
      if (!isTreadleError(error) || error.code !== "FILE_DAMAGED") throw error;
      work.log.say("Dependencies: those fetched before are damaged; fetching them anew.");
      await tools.store.dependencyLayers.forget(key, present.sha256);
    }
  }
  return fetchNow(key, record, runtime, tools, work);
}

async function fetchNow(
  key: string,
  record: BuildRecord,
  runtime: Runtime,
  tools: BuildTools,
  work: BuildWork,
): Promise<DependencyLayerRecord> {
  const step = runtime.build.fetch;
  if (step === null) throw new Error("The runtime fetches nothing.");
  const manifests = join(work.directory, "manifests");
  const dependencies = join(work.directory, "fetched");
  await Promise.all([mkdir(manifests), mkdir(dependencies)]);
  await unpackLayer(tools.files, record.sourceSha256, manifests, {
    readOnly: false,
    wanted: ({ path, kind }) => kind === "file" && isManifest(path, runtime.build.manifestFiles),
    signal: work.signal,
  });
  work.log.say(`fetch: ${step.command.join(" ")}`);
  await runStep(
    {
      name: "fetch",
      command: step.command,
      root: step.root,
      mounts: [
        ...step.mounts,
        { source: manifests, target: "/source", access: "read-write" },
        { source: dependencies, target: "/dependencies", access: "read-write" },
      ],
      environment: { ...step.environment, ...work.environment },
      registries: step.registries,
    },
    work,
  );
  const tree = await walkTree(dependencies, "fetch", tools.settings.artifactMaxBytes);
  const { sha256 } = await tools.files.blobs.put(packTree(tree.entries), { signal: work.signal });
  return tools.store.dependencyLayers.keep(key, { sha256, bytes: tree.bytes, lockDigest: await lockDigest(tree) });
}

/** Digest of the file `lock` at the layer's root. */
async function lockDigest(tree: WalkedTree): Promise<string | null> {
  const lock = tree.entries.find((entry) => entry.kind === "file" && entry.path === "lock");
  if (lock?.kind !== "file") return null;
  const hash = createHash("sha256");
  for await (const chunk of await lock.open()) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

/** What npm or uv installed for a source that has a manifest of theirs. */
export interface InstalledPackages {
  /** What the function runs with; null: nothing. */
  readonly runs: Installed | null;
  /** What its build command is run with: development dependencies as well. Mostly the same. */
  readonly builds: Installed | null;
}

export interface Installed {
  readonly dependencies: InstalledDependencies;
  readonly installation: BuildInstallation;
}

/** Installs what a source's manifest names, and, for its build command, what only that needs. */
export async function installedPackages(
  record: BuildRecord,
  runtime: Runtime,
  tools: BuildTools,
  work: BuildWork,
): Promise<InstalledPackages> {
  const files = await rootManifests(tools.files, record.sourceSha256, runtime.build.manifestFiles, work.signal);
  const withDevelopment =
    record.command === null || runtime.build.installer !== "npm" ? null : withDevelopmentDependencies(files);
  const runs = namesPackages(files) ? await install(files, "", runtime, tools, work) : null;
  if (withDevelopment === null) return { runs, builds: runs };
  return { runs, builds: await install(withDevelopment, " with devDependencies, for the build command", runtime, tools, work) };
}

async function install(
  files: Readonly<Record<string, string>>,
  what: string,
  runtime: Runtime,
  tools: BuildTools,
  work: BuildWork,
): Promise<Installed> {
  work.log.say(`install: ${Object.keys(files).join(", ")} by ${runtime.build.installer}${what}`);
  const output = work.log.output();
  let shown = "";
  const began = performance.now();
  const installing = tools.installer.resolveAndInstall(runtime.language, files, {
    onState: ({ log }) => {
      // It is the end of a longer text, so the beginning may have gone.
      const overlap = log.startsWith(shown) ? shown.length : log.lastIndexOf(shown.slice(-500)) + Math.min(500, shown.length);
      output.write("stdout", Buffer.from(log.slice(Math.max(0, overlap))));
      shown = log;
    },
  });
  const stopped = Promise.withResolvers<never>();
  const stop = () => stopped.reject(work.signal.reason);
  work.signal.addEventListener("abort", stop);
  try {
    // An installation goes on for others who wait for it; this build need not.
    const dependencies = await Promise.race([installing, stopped.promise]);
    output.end();
    work.log.say(
      `install done in ${((performance.now() - began) / 1000).toFixed(1)} s: ${dependencies.packages.length} packages.`,
    );
    return { dependencies, installation: { language: runtime.language, files, lockText: dependencies.lockText } };
  } catch (error) {
    output.end();
    if (isTreadleError(error) && error.code === "INSTALL_FAILED") {
      throw buildFailure("install", error.message, { lastLines: output.lastLines });
    }
    throw error;
  } finally {
    work.signal.removeEventListener("abort", stop);
  }
}
