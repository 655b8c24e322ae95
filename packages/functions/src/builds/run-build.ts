import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Runtime } from "@treadle/runtimes";
import type { Mount } from "@treadle/sandbox";
import type { BuildEnd, BuildInstallation, BuildLayerRecord, BuildRecord } from "@treadle/store";
import { fetchedLayer, installedPackages } from "./build-dependencies.ts";
import type { BuildTools, BuildWork } from "./build-work.ts";
import { walkTree } from "./layers/pack-layer.ts";
import { packTree } from "./layers/pack-tree.ts";
import { unpackLayer } from "./layers/unpack-layer.ts";
import type { BuildLog } from "./log/build-log.ts";
import { stagingFolder } from "./staging-folder.ts";
import { buildFailure } from "./steps/build-failure.ts";
import { type CommandGround, hasShell, interpretedGround } from "./steps/command-root.ts";
import { runStep, seconds } from "./steps/run-step.ts";

/** What a build made. */
export type Built = Pick<Extract<BuildEnd, { state: "ready" }>, "layers" | "artifactBytes" | "lockDigest" | "installation">;

/** What the steps after the first see of dependencies. */
interface SeenDependencies {
  readonly mounts: readonly Mount[];
  readonly environment: Readonly<Record<string, string>>;
  readonly layer: BuildLayerRecord | null;
  readonly lockDigest: string | null;
  readonly installation: BuildInstallation | null;
}

/**
 * Builds one source: dependencies, the user's own command, the runtime's compile step; then packs what they made. Leaves nothing on disk but the dependency layer.
 * @throws BUILD_FAILED, SANDBOX_UNAVAILABLE, FILE_DAMAGED, STORAGE_UNAVAILABLE; the reason of `signal` when that ended it
 */
export async function runBuild(
  record: BuildRecord,
  runtime: Runtime,
  tools: BuildTools,
  log: BuildLog,
  signal: AbortSignal,
): Promise<Built> {
  const { settings, driver, node } = tools;
  await using staging = await stagingFolder(tools.workDirectory);
  const began = performance.now();
  const work: BuildWork = {
    ...{ driver, settings, node, log, signal },
    directory: staging.path,
    sourceBytes: record.sourceBytes,
    deadline: began + settings.timeoutMs,
    environment: {
      ...(record.entrypoint === null ? {} : { TREADLE_ENTRYPOINT: record.entrypoint }),
      ...(record.command === null ? {} : { TREADLE_COMMAND: record.command }),
    },
  };
  log.say(`Building for ${runtime.name}: ${record.sourceFiles} files, ${record.sourceBytes} bytes.`);
  const dependencies = await seeDependencies(record, runtime, tools, work);
  const code = await makeCode(record, runtime, tools, work, dependencies);
  signal.throwIfAborted();
  const layers = dependencies.layer === null ? [code] : [code, dependencies.layer];
  log.say(`Built in ${seconds(performance.now() - began)}.`);
  return {
    layers,
    artifactBytes: layers.reduce((sum, { bytes }) => sum + bytes, 0),
    lockDigest: dependencies.lockDigest,
    installation: dependencies.installation,
  };
}

async function seeDependencies(
  record: BuildRecord,
  runtime: Runtime,
  tools: BuildTools,
  work: BuildWork,
): Promise<SeenDependencies> {
  const { fetch, installer } = runtime.build;
  const target = "/dependencies";
  if (installer !== null) {
    const { runs, builds } = await installedPackages(record, runtime, tools, work);
    if (builds !== null) {
      const { directory } = builds.dependencies;
      // Node looks into the folders above the source by itself; what Python looks for has to be said.
      const mounts: Mount[] = [{ source: directory, target, access: "read-only" }];
      if (installer === "npm")
        mounts.push({ source: join(directory, "node_modules"), target: "/node_modules", access: "read-only" });
      const environment: Record<string, string> =
        installer === "npm" ? { NODE_PATH: `${target}/node_modules` } : { PYTHONPATH: target };
      return {
        ...{ mounts, environment, layer: null },
        lockDigest: runs?.dependencies.digest ?? null,
        installation: runs?.installation ?? null,
      };
    }
  } else if (fetch !== null) {
    const layer = await fetchedLayer(record, runtime, tools, work);
    const source = await tools.layers.folder(layer.sha256);
    return {
      mounts: [{ source, target, access: "read-only" }],
      environment: {},
      // Where there was nothing to fetch, instances are not told of an empty folder.
      layer: layer.bytes === 0 ? null : { kind: "dependencies", sha256: layer.sha256, bytes: layer.bytes },
      lockDigest: layer.lockDigest,
      installation: null,
    };
  }
  const empty = join(work.directory, "none");
  await mkdir(empty);
  return {
    mounts: [{ source: empty, target, access: "read-only" }],
    environment: {},
    layer: null,
    lockDigest: null,
    installation: null,
  };
}

async function makeCode(
  record: BuildRecord,
  runtime: Runtime,
  tools: BuildTools,
  work: BuildWork,
  dependencies: SeenDependencies,
): Promise<BuildLayerRecord> {
  const { compile } = runtime.build;
  // Nothing changes it: the source as it is stored is the layer.
  if (compile === null && record.command === null)
    return { kind: "code", sha256: record.sourceSha256, bytes: record.sourceBytes };
  const source = join(work.directory, "source");
  const artifact = join(work.directory, "artifact");
  await Promise.all([mkdir(source), mkdir(artifact)]);
  await unpackLayer(tools.files, record.sourceSha256, source, { readOnly: false, signal: work.signal });
  const mounts: Mount[] = [
    { source, target: "/source", access: "read-write" },
    { source: artifact, target: "/artifact", access: "read-write" },
    ...dependencies.mounts,
  ];
  const environment = { ...dependencies.environment, ...work.environment };
  if (record.command !== null) {
    const ground: CommandGround = compile !== null && hasShell(compile) ? compile : await interpretedGround(runtime);
    const path = ground.environment.PATH ?? "/usr/local/bin:/usr/bin:/bin";
    work.log.say(`command: ${record.command}`);
    await runStep(
      {
        name: "command",
        command: ["/bin/sh", "-c", record.command],
        root: ground.root,
        mounts: [...ground.mounts, ...mounts],
        environment: { ...ground.environment, ...environment, PATH: `/node_modules/.bin:${path}` },
        registries: null,
      },
      work,
    );
  }
  if (compile !== null) {
    work.log.say(`compile: ${compile.command.join(" ")}`);
    await runStep(
      {
        name: "compile",
        command: compile.command,
        root: compile.root,
        mounts: [...compile.mounts, ...mounts],
        environment: { ...compile.environment, ...environment },
        registries: null,
      },
      work,
    );
  }
  const step = compile === null ? "command" : "compile";
  const tree = await walkTree(compile === null ? source : artifact, step, tools.settings.artifactMaxBytes);
  if (!tree.entries.some(({ kind }) => kind === "file")) throw buildFailure(step, "It made nothing.");
  const { sha256 } = await tools.files.blobs.put(packTree(tree.entries), { signal: work.signal });
  return { kind: "code", sha256, bytes: tree.bytes };
}
