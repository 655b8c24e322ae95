import { ACCESS_ID, type DrsParts } from "./drs-parts.ts";
import type { Found } from "./find-objects.ts";

/** A new link to a file's bytes; null when the object has no access method of this id. */
export async function createAccess(
  { files, settings }: DrsParts,
  origin: string,
  found: Found,
  accessId: string,
): Promise<{ url: string } | null> {
  if (found.kind !== "file" || accessId !== ACCESS_ID || found.file.damaged) return null;
  const link = await files.link(found.file, settings.linkSeconds);
  return { url: new URL(link.url, origin).href };
}
