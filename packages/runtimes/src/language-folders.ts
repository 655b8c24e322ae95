import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** The folder of all languages: each folder in it with a manifest.ts is one. */
const LANGUAGES = join(import.meta.dirname, "..");

/** What a language folder has for people who write functions; there whether or not this machine can run the language. */
export interface LanguageFolder {
  /** Its name: `node`, `go`. */
  readonly language: string;
  readonly path: string;
  /** The folder of a small function, with its treadle.yaml. */
  readonly example: string;
  /** Types for editors; null: the language has none, or brings them with its server. */
  readonly types: string | null;
}

/** All language folders, by name. */
export function languageFolders(): LanguageFolder[] {
  return readdirSync(LANGUAGES)
    .filter((name) => existsSync(join(LANGUAGES, name, "manifest.ts")))
    .sort()
    .map((language) => {
      const path = join(LANGUAGES, language);
      const types = join(path, "types");
      return { language, path, example: join(path, "example"), types: existsSync(types) ? types : null };
    });
}
