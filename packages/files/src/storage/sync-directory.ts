import { open } from "node:fs/promises";

/** Makes the names in a folder durable: a new or renamed file survives a power failure only when its folder was flushed, too. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
