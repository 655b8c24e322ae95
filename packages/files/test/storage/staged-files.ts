import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StagedBytes } from "../../src/storage/storage-driver.ts";

/** Bytes to put, and what they are. */
export interface Sample extends StagedBytes {
  readonly bytes: Buffer;
}

/** A folder of staged files. */
export interface StagedFiles extends AsyncDisposable {
  stage(bytes: Buffer): Promise<Sample>;
  /** Random bytes: a digest that nothing else has. */
  random(size: number): Promise<Sample>;
}

export async function stagedFiles(): Promise<StagedFiles> {
  const folder = await mkdtemp(join(tmpdir(), "treadle-staged-"));
  let count = 0;
  const stage = async (bytes: Buffer): Promise<Sample> => {
    const path = join(folder, String(count++));
    await writeFile(path, bytes);
    return { path, size: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex"), bytes };
  };
  return {
    stage,
    random: (size) => stage(randomBytes(size)),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}
