import { isBuiltin } from "node:module";
import type { ManifestFiles } from "./manifest-files.ts";
import { isNpmName } from "./node/npm-names.ts";
import { parseObject } from "./node/package-json.ts";
import { DISTRIBUTIONS_BY_IMPORT } from "./python/import-names.ts";
import { readPyproject } from "./python/pyproject.ts";
import { isPythonName, normalizePythonName } from "./python/python-names.ts";
import { readRequirements } from "./python/requirements.ts";

/** A manifest completed with what the code imports. */
export interface InferredManifest {
  readonly files: ManifestFiles;
  /** Package names that were added, sorted: to be shown to the user. */
  readonly inferred: readonly string[];
}

/**
 * Adds to a manifest the packages that code imports and the manifest does not name, in any version. Imports are top-level names as a
 * runtime's LOADED frame reports them; they come out of a sandbox, so names no package can have are left out. Throws
 * INSTALL_FAILED when the existing manifest is malformed.
 */
export function inferManifest(language: string, imports: readonly string[], existing: ManifestFiles = {}): InferredManifest {
  const unique = [...new Set(imports)].slice(0, 200);
  return language === "python" ? inferPython(unique, existing) : inferNode(unique, existing);
}

function inferNode(imports: readonly string[], existing: ManifestFiles): InferredManifest {
  const manifest = parseObject(existing["package.json"] ?? "{}", "package.json");
  const sections = ["dependencies", "optionalDependencies"].map(
    (section) => (manifest[section] ?? {}) as Record<string, unknown>,
  );
  const inferred = imports
    .filter((name) => isNpmName(name) && !isBuiltin(name) && !sections.some((section) => Object.hasOwn(section, name)))
    .toSorted();
  if (inferred.length === 0) return { files: existing, inferred };
  const dependencies = { ...sections[0], ...Object.fromEntries(inferred.map((name) => [name, "*"])) };
  // A lock that lacks the added packages no longer fits.
  const { "package-lock.json": _outdated, ...others } = existing;
  return { files: { ...others, "package.json": JSON.stringify({ ...manifest, dependencies }, null, 2) }, inferred };
}

function inferPython(imports: readonly string[], existing: ManifestFiles): InferredManifest {
  const named = [
    ...readRequirements(existing["requirements.txt"] ?? "", () => {}),
    ...readPyproject(existing["pyproject.toml"] ?? "", () => {}),
  ].map((requirement) => normalizePythonName(requirement.name));
  const inferred: string[] = [];
  for (const name of imports) {
    const providers = Object.hasOwn(DISTRIBUTIONS_BY_IMPORT, name)
      ? (DISTRIBUTIONS_BY_IMPORT[name] as readonly string[])
      : [name];
    const [first = name] = providers;
    if (isPythonName(first) && !providers.some((provider) => named.includes(normalizePythonName(provider)))) inferred.push(first);
  }
  if (inferred.length === 0) return { files: existing, inferred };
  inferred.sort();
  const { "uv.lock": _outdated, ...others } = existing;
  const before = existing["requirements.txt"] ?? "";
  const separator = before === "" || before.endsWith("\n") ? "" : "\n";
  return { files: { ...others, "requirements.txt": `${before}${separator}${inferred.join("\n")}\n` }, inferred };
}
