import { join } from "node:path";
import { languageFolders } from "./language-folders.ts";
import type { MissingRuntime, Runtime, RuntimeManifest } from "./runtime.ts";

/** The languages of this machine. */
export interface Runtimes {
  readonly available: readonly Runtime[];
  readonly missing: readonly MissingRuntime[];
  /** The runtime a user means by a language, an alias or a full name such as `node-24`. */
  named(name: string): Runtime | undefined;
}

/** Looks for every known language on this machine. */
export async function findRuntimes(): Promise<Runtimes> {
  const found = await Promise.all(
    languageFolders().map(async ({ path }) => {
      const { manifest } = (await import(join(path, "manifest.ts"))) as { manifest: RuntimeManifest };
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
