import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFiles } from "@treadle/files";
import { type BuildPlan, findRuntimes, type Runtime, type Runtimes } from "@treadle/runtimes";
import { createSandboxDriver, type SandboxDriver } from "@treadle/sandbox";
import { openStore, type Store } from "@treadle/store";
import { type BuildSettings, DEFAULT_BUILD_SETTINGS } from "../../src/builds/build-settings.ts";
import type { Build, BuildLogLine, Builds } from "../../src/builds/builds.ts";
import { openBuilds } from "../../src/builds/open-builds.ts";
import { createDependencyInstaller, DEFAULT_DEPENDENCY_SETTINGS } from "../../src/dependencies/index.ts";
import { scriptRoot } from "../../src/dependencies/node/script-root.ts";

/** Everything that builds need, real, in a folder of its own. */
export interface Workbench extends AsyncDisposable {
  readonly folder: string;
  readonly store: Store;
  readonly builds: Builds;
  readonly driver: SandboxDriver;
  readonly runtimes: Runtimes;
  readonly warnings: string[];
  readonly node: Runtime;
  /** Names in the folder where builds work. */
  leftovers(): Promise<string[]>;
  readonly files: Awaited<ReturnType<typeof openFiles>>;
}

export interface WorkbenchOptions {
  readonly settings?: Partial<BuildSettings>;
  /** Languages of the test's making, besides those of this machine. */
  readonly runtimes?: readonly Runtime[];
  /** What an earlier one left; it then stays when this one is disposed of. */
  readonly folder?: string;
}

export async function setWorkbench({
  settings = {},
  runtimes: own = [],
  folder: given,
}: WorkbenchOptions = {}): Promise<Workbench> {
  await using stack = new AsyncDisposableStack();
  const folder = given ?? (await mkdtemp(join(tmpdir(), "treadle-builds-")));
  if (given === undefined) stack.defer(() => rm(folder, { recursive: true, force: true }));
  const warnings: string[] = [];
  const warn = (message: string, fields: object = {}) => void warnings.push(`${message} ${JSON.stringify(fields)}`);
  const driver = stack.use(await createSandboxDriver("bubblewrap", { stateDirectory: join(folder, "sandbox"), warn }));
  const store = stack.use(await openStore({ dataDirectory: folder, log: () => {} }));
  const files = stack.use(
    await openFiles({
      ...{ store, dataDirectory: folder, storageUrl: null, quotaBytes: null, fileMaxBytes: 1e12, uploadExpiryMs: 3_600_000 },
      ...{ copiesMaxBytes: 1e9, trustedImports: [], linkKey: Buffer.alloc(32, 7), environment: {}, warn },
    }),
  );
  const found = await findRuntimes();
  const available = [...found.available, ...own];
  const runtimes: Runtimes = {
    available,
    missing: found.missing,
    named: (name) => own.find((each) => each.name === name || each.language === name) ?? found.named(name),
  };
  const installer = stack.use(
    createDependencyInstaller({
      ...{ driver, runtimes: available, directory: join(folder, "dependencies"), settings: DEFAULT_DEPENDENCY_SETTINGS, warn },
    }),
  );
  await installer.sweep();
  const builds = stack.use(
    await openBuilds({
      ...{ store, files, driver, runtimes, installer, warn, dataDirectory: folder },
      settings: { ...DEFAULT_BUILD_SETTINGS, ...settings },
    }),
  );
  const kept = stack.move();
  return {
    ...{ folder, store, builds, driver, runtimes, warnings, files },
    node: runtimes.named("node") as Runtime,
    leftovers: () => readdir(join(folder, "builds/work")),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** A language of the test's making: its steps are shell scripts, everything else is as real as any. */
export async function shellRuntime(
  language: string,
  scripts: { readonly fetch?: string; readonly compile?: string },
  plan: { readonly registries?: readonly string[]; readonly manifestFiles?: readonly string[] } = {},
): Promise<Runtime> {
  const root = await scriptRoot(["dd", "sleep", "seq", "yes", "find", "mkfifo", "printf", "sha256sum", "date"]);
  const step = (script: string) => ({
    command: ["/bin/sh", "-c", script],
    root,
    mounts: [],
    environment: { PATH: "/usr/bin:/bin" },
  });
  const build: BuildPlan = {
    manifestFiles: plan.manifestFiles ?? ["packages.txt"],
    fetch: scripts.fetch === undefined ? null : { ...step(scripts.fetch), registries: plan.registries ?? [] },
    compile: scripts.compile === undefined ? null : step(scripts.compile),
    installer: null,
  };
  return {
    ...{ language, name: `${language}-1`, version: "1.0.0", aliases: [], contracts: ["handler"], transports: ["http"] },
    ...{ defaultEntrypoint: "main", fileEndings: [], markerFiles: [], root, mounts: [], environment: {}, build },
    command: () => ["/bin/sh"],
    baseMemoryBytes: 16 * 1024 * 1024,
  };
}

export async function textOf(builds: Builds, id: string, after?: number): Promise<string> {
  return (await linesOf(builds, id, after)).map(({ text }) => `${text}\n`).join("");
}

export async function linesOf(builds: Builds, id: string, after?: number): Promise<BuildLogLine[]> {
  const lines: BuildLogLine[] = [];
  for await (const line of builds.log(id, after)) lines.push(line);
  return lines;
}

/** The code of a promise that must reject, and its message. */
export async function failure(
  promise: Promise<unknown>,
): Promise<{ code: string; message: string; details: Record<string, unknown> }> {
  const outcome = await promise.then(
    () => null,
    (error) => error,
  );
  if (outcome === null) throw new Error("it did not fail");
  return outcome;
}

/** A build that has ended, with its whole log for when it did not end as expected. */
export async function ended(builds: Builds, id: string): Promise<Build & { readonly text: string }> {
  const build = await builds.ended(id);
  return { ...build, text: await textOf(builds, id) };
}
