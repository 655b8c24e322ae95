import { installFailure, quoted } from "../install-failure.ts";
import type { PackagePolicy } from "../package-policy.ts";
import { isNpmName, isRegistrySpecifier } from "./npm-names.ts";

const SECTIONS = ["dependencies", "optionalDependencies", "devDependencies", "peerDependencies"] as const;

/**
 * What of a user's package.json decides which packages are installed. Everything else stays out (scripts above all), so that nothing
 * in it can make npm do something else.
 */
export type PackageManifest = { readonly [section in (typeof SECTIONS)[number]]?: Readonly<Record<string, string>> } & {
  readonly overrides?: object;
};

/** Reads and checks a package.json. Throws INSTALL_FAILED, naming the entry. */
export function readPackageJson(text: string, policy: PackagePolicy): PackageManifest {
  const parsed = parseObject(text, "package.json");
  if (parsed.workspaces !== undefined)
    throw installFailure("package.json has workspaces; only packages of a registry can be installed.");
  const manifest: Record<string, object> = {};
  for (const section of SECTIONS) {
    if (parsed[section] === undefined) continue;
    const entries = objectEntries(parsed[section], section);
    for (const [name, specifier] of entries) checkEntry(name, specifier, section, policy);
    // npm leaves empty sections out of a lock.
    if (entries.length > 0) manifest[section] = Object.fromEntries(entries);
  }
  if (parsed.overrides !== undefined) {
    checkOverrides(parsed.overrides, 0);
    manifest.overrides = parsed.overrides as object;
  }
  return manifest;
}

/** The package.json npm gets to see. */
export function writePackageJson(manifest: PackageManifest): string {
  return JSON.stringify({ name: "workspace", version: "1.0.0", private: true, ...manifest }, null, 2);
}

/** Parses JSON that must be an object; `what` names it in the error. */
export function parseObject(text: string, what: string): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text.replace(/^\ufeff/, ""));
  } catch (error) {
    throw installFailure(`${what} is not JSON: ${(error as Error).message.slice(0, 200)}.`);
  }
  if (!isObject(parsed)) throw installFailure(`${what} is not a JSON object.`);
  return parsed;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function objectEntries(value: unknown, section: string): [string, unknown][] {
  if (!isObject(value)) throw installFailure(`"${section}" in package.json is not an object.`);
  return Object.entries(value);
}

function checkEntry(name: string, specifier: unknown, section: string, policy: PackagePolicy): void {
  if (!isNpmName(name))
    throw installFailure(`${quoted(name)} in "${section}" is not the name of an npm package.`, { package: name });
  if (typeof specifier !== "string" || !isRegistrySpecifier(specifier)) {
    throw installFailure(
      `"${name}" asks for ${quoted(String(specifier))}; only versions, ranges and tags of the registry can be installed, not addresses, files or aliases.`,
      { package: name },
    );
  }
  policy(name);
}

/** Overrides nest: {"a": "1.0.0", "b": {".": "2.0.0", "c@1": "$c"}}. */
function checkOverrides(overrides: unknown, depth: number): void {
  if (!isObject(overrides) || depth > 10) throw installFailure('"overrides" in package.json is not an object, or too deep.');
  for (const [key, value] of Object.entries(overrides)) {
    const at = key.indexOf("@", 1);
    const [name, range] = at < 0 ? [key, ""] : [key.slice(0, at), key.slice(at + 1)];
    if (key !== "." && !(isNpmName(name) && isRegistrySpecifier(range))) {
      throw installFailure(`${quoted(key)} in "overrides" is not the name of an npm package.`);
    }
    if (typeof value !== "string") checkOverrides(value, depth + 1);
    else if (!isRegistrySpecifier(value) && !(value.startsWith("$") && isNpmName(value.slice(1)))) {
      throw installFailure(
        `"${key}" in "overrides" asks for ${quoted(value)}; only versions, ranges and tags of the registry can be installed.`,
      );
    }
  }
}
