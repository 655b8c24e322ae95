import { createHash } from "node:crypto";
import type { SourceFile } from "@treadle/store";
import { createTwoFilesPatch } from "diff";
import type { Builds, SourceEntry } from "../builds/builds.ts";
import type { SourceDifference } from "./deployments.ts";

/** Longest file a patch is made of. */
const LONGEST_FILE = 256 * 1024;
/** Time that one patch, and all of them, may take. */
const PATCH_MS = 200;
const ALL_PATCHES_MS = 1_500;
const MOST_DIFFERENCES = 5_000;

/** The files of a deployment's source, wherever they are kept. */
export interface ComparedSource {
  entries(): Promise<readonly SourceEntry[]>;
  /** Those of at most `LONGEST_FILE` bytes. */
  contents(paths: ReadonlySet<string>): Promise<ReadonlyMap<string, Uint8Array>>;
}

export function sourceOfBuild(builds: Pick<Builds, "sourceEntries" | "sourceContents">, id: string): ComparedSource {
  return {
    entries: () => builds.sourceEntries(id),
    contents: (paths) => builds.sourceContents(id, paths, LONGEST_FILE),
  };
}

export function sourceOfFiles(files: readonly SourceFile[]): ComparedSource {
  return {
    entries: async () =>
      files.map(({ path, content }) => ({
        path,
        bytes: content.length,
        sha256: createHash("sha256").update(content).digest("hex"),
        executable: false,
      })),
    contents: async (paths) =>
      new Map(
        files
          .filter(({ path, content }) => paths.has(path) && content.length <= LONGEST_FILE)
          .map(({ path, content }) => [path, content] as const),
      ),
  };
}

/** What of one source is other in the second, by path. Patches are left out where a file is long or not text, and when making them takes long. */
export async function sourceDifferences(from: ComparedSource, to: ComparedSource): Promise<SourceDifference[]> {
  const [before, after] = (await Promise.all([from.entries(), to.entries()])).map(
    (entries) => new Map(entries.map((entry) => [entry.path, entry])),
  ) as [Map<string, SourceEntry>, Map<string, SourceEntry>];
  const paths = [...new Set([...before.keys(), ...after.keys()])].sort((a, b) => (a < b ? -1 : 1));
  const other = paths.filter((path) => !isSame(before.get(path), after.get(path))).slice(0, MOST_DIFFERENCES);
  const wanted = (entries: ReadonlyMap<string, SourceEntry>) =>
    new Set(other.filter((path) => (entries.get(path)?.bytes ?? Number.POSITIVE_INFINITY) <= LONGEST_FILE));
  const [old, now] = await Promise.all([from.contents(wanted(before)), to.contents(wanted(after))]);
  const until = performance.now() + ALL_PATCHES_MS;
  return other.map((path) => {
    const [a, b] = [before.get(path), after.get(path)];
    const change = a === undefined ? "added" : b === undefined ? "removed" : "changed";
    const patch = performance.now() < until ? patchOf(path, a && old.get(path), b && now.get(path), a, b) : null;
    return { path, change, patch };
  });
}

function isSame(a: SourceEntry | undefined, b: SourceEntry | undefined): boolean {
  return a !== undefined && b !== undefined && a.sha256 === b.sha256 && a.executable === b.executable;
}

function patchOf(
  path: string,
  old: Uint8Array | undefined,
  now: Uint8Array | undefined,
  a: SourceEntry | undefined,
  b: SourceEntry | undefined,
): string | null {
  const mode = a !== undefined && b !== undefined && a.executable !== b.executable ? modeChange(a, b) : "";
  if (a?.sha256 === b?.sha256) return mode;
  const [before, after] = [a === undefined ? "" : textOf(old), b === undefined ? "" : textOf(now)];
  if (before === null || after === null) return null;
  const names = [a === undefined ? "/dev/null" : `a/${path}`, b === undefined ? "/dev/null" : `b/${path}`] as const;
  const patch = createTwoFilesPatch(...names, before, after, undefined, undefined, { context: 3, timeout: PATCH_MS });
  return patch === undefined ? null : `${mode}${patch.replace(/^=+\n/, "")}`;
}

function modeChange(a: SourceEntry, b: SourceEntry): string {
  const mode = ({ executable }: SourceEntry) => (executable ? "100755" : "100644");
  return `old mode ${mode(a)}\nnew mode ${mode(b)}\n`;
}

/** Null for what is no text. */
function textOf(content: Uint8Array | undefined): string | null {
  if (content === undefined || content.includes(0)) return null;
  const text = Buffer.from(content).toString("utf8");
  return Buffer.from(text).equals(content) ? text : null;
}
