import type { Bundle, Files, StoredFile } from "@treadle/files";
import { MOST_ENTRIES } from "./drs-parts.ts";
import { DrsProblem } from "./drs-problem.ts";

/** What an id stands for, to somebody. */
export type Found =
  | { readonly kind: "file"; readonly file: StoredFile }
  | { readonly kind: "bundle"; readonly bundle: Bundle }
  /** It is being imported. */
  | { readonly kind: "pending" }
  | { readonly kind: "refused"; readonly status: 401 | 404 };

const ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** Each loads up to 10,000 entries. */
const BUNDLES_AT_ONCE = 8;

/**
 * What these ids stand for, each once. Without a right to what is private, it and what does not exist are the same: 401.
 * @throws DrsProblem 413 when the bundles among them have more entries than an answer may list
 */
export async function findObjects(files: Files, ids: Iterable<string>, authorized: boolean): Promise<(id: string) => Found> {
  const found = new Map<string, Found>();
  const open = new Set([...ids].map((id) => id.toLowerCase()).filter((id) => ID.test(id)));
  const take = (id: string, object: Found, everybody: boolean) => {
    open.delete(id);
    if (authorized || everybody) found.set(id, object);
  };

  const takeFiles = async () => {
    for (const file of await files.findAll([...open])) take(file.id, { kind: "file", file }, file.public);
  };

  await takeFiles();
  // Contents are loaded a few bundles at a time, for those only that the caller may see.
  const seen = (await files.bundles.summaries([...open])).filter((bundle) => authorized || bundle.public);
  let entries = 0;
  for (const some of chunks(seen, BUNDLES_AT_ONCE)) {
    for (const bundle of await files.bundles.findAll(some.map(({ id }) => id))) {
      take(bundle.id, { kind: "bundle", bundle }, bundle.public);
      entries += bundle.contents.length;
    }
    if (entries > MOST_ENTRIES)
      throw new DrsProblem(413, `These bundles have more than ${MOST_ENTRIES} entries together; ask for fewer at once.`);
  }
  if (authorized && open.size > 0) {
    for (const { fileId } of await files.imports.pendingAll([...open])) take(fileId, { kind: "pending" }, false);
    // An import may have ended after its file was looked for.
    await takeFiles();
  }
  const refused: Found = { kind: "refused", status: authorized ? 404 : 401 };
  return (id) => found.get(id.toLowerCase()) ?? refused;
}

function* chunks<T>(all: readonly T[], size: number): Generator<T[]> {
  for (let start = 0; start < all.length; start += size) yield all.slice(start, start + size);
}
