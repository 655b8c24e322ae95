import { TreadleError } from "@treadle/errors";
import type { BundleEntry, NewBundle } from "./bundle.ts";

const MOST_ENTRIES = 10_000;
const MOST_DESCRIPTION_CHARACTERS = 10_000;
/** What DRS allows as a name in a bundle: POSIX' portable file names. */
const PORTABLE_NAME = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,255}$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
const UNFIT_IN_NAME = /[\u0000-\u001f\u007f-\u009f/]/;

/** Checks what can be checked of a new bundle without the database. @throws BAD_REQUEST naming the entry */
export function checkBundle({ name, description, contents }: NewBundle): void {
  if (!name.isWellFormed() || name.length < 1 || name.length > 255 || UNFIT_IN_NAME.test(name) || /^\.{1,2}$/.test(name))
    throw refused("its name has to be 1 to 255 characters without control characters or `/`");
  if (description !== undefined) {
    if (description.length > MOST_DESCRIPTION_CHARACTERS || !description.isWellFormed() || description.includes("\0"))
      throw refused(`its description has to be text of at most ${MOST_DESCRIPTION_CHARACTERS} characters`);
  }
  if (contents.length < 1 || contents.length > MOST_ENTRIES)
    throw refused(`it has ${contents.length} entries; it may have 1 to ${MOST_ENTRIES}`);
  const names = new Set<string>();
  for (const [index, entry] of contents.entries()) {
    checkEntry(entry, index);
    if (names.has(entry.name)) throw refused(`two of its entries are called "${entry.name}"`);
    names.add(entry.name);
  }
}

function checkEntry(entry: BundleEntry, index: number): void {
  if (!PORTABLE_NAME.test(entry.name))
    throw refused(
      `the name of entry ${index + 1} has to be 1 to 255 letters, digits, dots, hyphens and underscores, and not "." or ".."`,
    );
  if ((entry.fileId === undefined) === (entry.bundleId === undefined))
    throw refused(`entry "${entry.name}" has to name either a file or a bundle`);
}

function refused(reason: string): TreadleError {
  return new TreadleError("BAD_REQUEST", `The bundle cannot be made: ${reason}.`);
}
