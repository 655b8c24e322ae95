import { createHash } from "node:crypto";
import { TreadleError } from "@treadle/errors";
import type { Blobs } from "@treadle/files";
import type { JobInput } from "@treadle/store";

/** Inputs up to this size lie in the job's row, longer ones in storage. */
export const ROW_INPUT_BYTES = 256 * 1024;

/** Where a job's input is kept. In storage it stays as long as the job's row refers to it, and ten minutes from now in any case. */
export async function keepInput(blobs: Blobs, text: string): Promise<JobInput> {
  if (!isLong(text)) return { text };
  const { sha256 } = await blobs.put(one(Buffer.from(text, "utf8")));
  return { sha256 };
}

export function isLong(text: string): boolean {
  return text.length > ROW_INPUT_BYTES || Buffer.byteLength(text) > ROW_INPUT_BYTES;
}

/** @throws FILE_DAMAGED */
export async function readInput(blobs: Blobs, input: JobInput): Promise<string> {
  if ("text" in input) return input.text;
  const chunks: Buffer[] = [];
  for await (const chunk of await blobs.read(input.sha256)) chunks.push(chunk as Buffer);
  const bytes = Buffer.concat(chunks);
  if (createHash("sha256").update(bytes).digest("hex") === input.sha256) return bytes.toString("utf8");
  await blobs.damaged(input.sha256);
  throw new TreadleError("FILE_DAMAGED", "The input of the execution is not what was put into storage.");
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
