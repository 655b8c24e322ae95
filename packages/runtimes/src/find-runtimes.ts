import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { MissingRuntime, Runtime, RuntimeManifest } from "./runtime.ts";

/** The folder of all languages: each folder in it with a manifest.ts is one. */
const LANGUAGES = join(import.meta.dirname, "..");

/** The languages of this machine. */
export interface Runtimes {
  readonly available: readonly Runtime[];
  readonly missing: readonly MissingRuntime[];
  /** The runtime a user means by a language, an alias or a full name such as `node-24`. */
  named(name: string): Runtime | undefined;
}

/** Looks for every known language on this machine. */
export async function findRuntimes(): Promise<Runtimes> {
  const folders = readdirSync(LANGUAGES).filter((name) => existsSync(join(LANGUAGES, name, "manifest.ts")));
  const found = await Promise.all(
    folders.sort().map(async (folder) => {
      const { manifest } = (await import(join(LANGUAGES, folder, "manifest.ts"))) as { manifest: RuntimeManifest };
      return manifest.find();
    }),
  );
  const available = found.filter((each): each is Runtime => "command" in each);
  const byName = new Map<string, Runtime>();
  for (const runtime of available) {
    for (const name of [runtime.language, runtime.name, ...runtime.aliases]) byName.set(name, runtime);
  }
  return {
    available,
    missing: found.filter((each): each is MissingRuntime => !("command" in each)),
    named: (name) => byName.get(name),
  };
}
