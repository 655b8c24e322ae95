import { createHash } from "node:crypto";
import type { Files } from "@treadle/files";
import type { SourceEntry } from "../builds.ts";
import { readLayer } from "../layers/read-layer.ts";

/** The files of a stored source, by path. Reads all of it. */
export async function sourceEntries(files: Files, sha256: string): Promise<SourceEntry[]> {
  const found: SourceEntry[] = [];
  await readLayer(files, sha256, async ({ path, kind, bytes, executable, content }) => {
    if (kind !== "file") return;
    const hash = createHash("sha256");
    for await (const chunk of content) hash.update(chunk);
    found.push({ path, bytes, sha256: hash.digest("hex"), executable });
  });
  return found;
}

/** Contents of some files of a stored source, without those of more than `limit` bytes. */
export async function sourceContents(
  files: Files,
  sha256: string,
  paths: ReadonlySet<string>,
  limit: number,
): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>();
  await readLayer(files, sha256, async ({ path, kind, bytes, content }) => {
    if (kind !== "file" || !paths.has(path) || bytes > limit) return;
    const chunks: Uint8Array[] = [];
    for await (const chunk of content) chunks.push(chunk);
    found.set(path, Buffer.concat(chunks));
  });
  return found;
}
