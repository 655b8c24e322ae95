import { randomUUID } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { removeTree } from "../dependencies/staging.ts";

/** A fresh folder that only we may enter, removed with everything in it when disposed of. */
export async function stagingFolder(parent: string): Promise<AsyncDisposable & { readonly path: string }> {
  const path = join(parent, randomUUID());
  await mkdir(path, { recursive: true, mode: 0o700 });
  return { path, [Symbol.asyncDispose]: () => removeTree(path) };
}
