import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { BuildStep, Runtime } from "@treadle/runtimes";
import type { BuildRequest } from "./builds.ts";

/** Part of each key: raised when artifacts of older servers are no longer to be used. */
const LAYOUT = 1;

const digests = new WeakMap<Runtime, Promise<string>>();

/** What of a runtime gets into what it builds: its name and the scripts and sources that its steps bring along, which change with this server. */
export function planDigest(runtime: Runtime): Promise<string> {
  let digest = digests.get(runtime);
  if (digest === undefined) {
    digest = digestPlan(runtime);
    digests.set(runtime, digest);
    digest.catch(() => digests.delete(runtime));
  }
  return digest;
}

/** Digest of all that can change an artifact: builds with the same key are one build. */
export async function buildKey({ source, runtime, entrypoint, command }: BuildRequest): Promise<string> {
  return sha256([LAYOUT, source.digest, await planDigest(runtime), process.platform, process.arch, entrypoint, command]);
}

/** What dependencies are fetched for. `manifests`: path and sha256 of each manifest file of a source. */
export async function dependencyKey(runtime: Runtime, manifests: readonly (readonly [string, string])[]): Promise<string> {
  return sha256([
    LAYOUT,
    await planDigest(runtime),
    process.platform,
    process.arch,
    manifests.toSorted(([a], [b]) => (a < b ? -1 : 1)),
  ]);
}

async function digestPlan({ language, name, build }: Runtime): Promise<string> {
  const steps = [build.fetch, build.compile].filter((step): step is NonNullable<typeof step> => step !== null);
  return sha256([language, name, build.installer, build.manifestFiles, await Promise.all(steps.map(digestStep))]);
}

/** By convention what a language folder brings into a build is mounted below /runtime; toolchains and certificates of the machine are elsewhere. */
async function digestStep({ command, mounts }: BuildStep): Promise<unknown> {
  const own = mounts.filter(({ target }) => target.startsWith("/runtime/"));
  return [command, await Promise.all(own.map(async ({ source, target }) => [target, await digestMount(source)]))];
}

async function digestMount(source: string): Promise<unknown> {
  if (!(await stat(source)).isDirectory()) return digestFile(source);
  const entries = await readdir(source, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Promise.all(files.sort().map(async (path) => [path.slice(source.length), await digestFile(path)]));
}

async function digestFile(path: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
}

function sha256(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex");
}
