import type { Files } from "@treadle/files";
import { readLayer } from "./layers/read-layer.ts";

const INSTALLED_BYTES = 32 * 1024 * 1024;

/** Whether a path is one of a runtime's manifest files: by its name, which may be `*.ending`. */
export function isManifest(path: string, names: readonly string[]): boolean {
  const name = path.slice(path.lastIndexOf("/") + 1);
  return names.some((each) => (each.startsWith("*.") ? name.endsWith(each.slice(1)) : each === name));
}

/** Texts of the manifest files at a source's root, for npm and uv. */
export async function rootManifests(
  files: Files,
  sourceSha256: string,
  names: readonly string[],
  signal: AbortSignal,
): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  await readLayer(
    files,
    sourceSha256,
    async ({ path, kind, bytes, content }) => {
      if (kind !== "file" || !names.includes(path) || bytes > INSTALLED_BYTES) return;
      const chunks: Uint8Array[] = [];
      for await (const chunk of content) chunks.push(chunk);
      found[path] = Buffer.concat(chunks).toString("utf8");
    },
    signal,
  );
  return found;
}

/** Whether anything is to be installed; a package.json often is there for its `type` or scripts alone. What cannot be read is npm's to complain about. */
export function namesPackages(files: Readonly<Record<string, string>>): boolean {
  const { "package.json": text, ...others } = files;
  if (text === undefined) return Object.keys(others).some((name) => name !== "package-lock.json");
  try {
    const manifest = JSON.parse(text) as { dependencies?: object; optionalDependencies?: object; peerDependencies?: object };
    const { dependencies, optionalDependencies, peerDependencies } = manifest;
    return [dependencies, optionalDependencies, peerDependencies].some((each) => Object.keys(each ?? {}).length > 0);
  } catch {
    return true;
  }
}
