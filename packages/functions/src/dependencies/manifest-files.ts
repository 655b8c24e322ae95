import { installFailure, quoted } from "./install-failure.ts";

/** Manifest files by name, as the user gave them: `{"package.json": "..."}`. */
export type ManifestFiles = Readonly<Record<string, string>>;

const MANIFEST_CHARACTERS = 1024 * 1024;
const LOCK_CHARACTERS = 32 * 1024 * 1024;

/** Refuses files of other names, and such as are too long. `locks` are the names that may be longer. */
export function checkFiles(files: ManifestFiles, names: readonly string[], locks: readonly string[]): void {
  for (const [name, text] of Object.entries(files)) {
    if (!names.includes(name) && !locks.includes(name)) {
      throw installFailure(`${quoted(name)} is no manifest of this language; known are ${[...names, ...locks].join(", ")}.`);
    }
    const limit = locks.includes(name) ? LOCK_CHARACTERS : MANIFEST_CHARACTERS;
    if (text.length > limit) throw installFailure(`${name} is longer than ${limit} characters.`);
    if (text.includes("\0")) throw installFailure(`${name} has a NUL character.`);
  }
}
