import { installFailure, quoted } from "../install-failure.ts";
import type { Package } from "../install-state.ts";
import type { PackagePolicy } from "../package-policy.ts";
import { isNpmName } from "./npm-names.ts";
import { isObject, type PackageManifest, parseObject, readPackageJson } from "./package-json.ts";

/** A package-lock.json that only names packages of the registry. */
export interface PackageLock {
  /** Free of addresses: npm asks the configured registry for each name and version, and checks the hash. */
  readonly text: string;
  /** The direct dependencies, as the lock has them: with the lock, all that `npm ci` needs. */
  readonly manifest: PackageManifest;
  /** What gets installed; development dependencies and optional ones for other systems do not. */
  readonly packages: readonly Package[];
  /** Those that have install scripts. */
  readonly withScripts: readonly string[];
}

const VERSION = /^\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$/;
const PUBLIC_REGISTRY = "registry.npmjs.org";

/**
 * Reads and checks a package-lock.json, a user's own or one that npm made from a hostile registry's answers. Throws INSTALL_FAILED when
 * a package would come from anywhere but the registries whose hosts (`host` or `host:port`) are given (null: not checked), or is denied by
 * `policy`.
 */
export function readPackageLock(
  text: string,
  registryHosts: readonly string[] | null,
  policy: PackagePolicy,
  overrides?: object,
): PackageLock {
  const lock = parseObject(text, "package-lock.json");
  if (lock.lockfileVersion !== 2 && lock.lockfileVersion !== 3) {
    throw installFailure("package-lock.json is not of version 2 or 3; `npm install` of npm 7 or newer writes those.");
  }
  if (!isObject(lock.packages) || !isObject(lock.packages[""])) throw installFailure('package-lock.json has no "packages".');
  const { "": root, ...entries } = lock.packages;
  // npm's own locks do not have the overrides, but `npm ci` compares with them; ours keep them beside the direct dependencies.
  const manifest = readPackageJson(JSON.stringify(overrides === undefined ? root : { ...root, overrides }), policy);
  const checked: Record<string, object> = { "": { name: "workspace", version: "1.0.0", ...manifest } };
  const packages: Package[] = [];
  const withScripts = new Set<string>();
  for (const [path, entry] of Object.entries(entries)) {
    const name = nameOf(path);
    const { resolved, ...rest } = checkedEntry(name, entry);
    if (resolved !== undefined && registryHosts !== null) checkAddress(name, resolved, registryHosts);
    policy(name);
    checked[path] = rest;
    if (rest.dev === true || !fitsSystem(rest)) continue;
    packages.push({ name, version: rest.version });
    if (rest.hasInstallScript === true) withScripts.add(name);
  }
  return {
    text: JSON.stringify({ name: "workspace", version: "1.0.0", lockfileVersion: 3, requires: true, packages: checked }, null, 2),
    manifest,
    packages,
    withScripts: [...withScripts],
  };
}

/** The package's name, from a path such as `node_modules/a/node_modules/@b/c`. */
function nameOf(path: string): string {
  const parts = path.split(/\/?node_modules\//);
  const name = parts.at(-1) ?? "";
  if (!path.startsWith("node_modules/") || !parts.slice(1).every(isNpmName)) {
    throw installFailure(
      `package-lock.json installs something at ${quoted(path)}, which is no place for a package of the registry.`,
    );
  }
  return name;
}

function checkedEntry(name: string, entry: unknown): Record<string, unknown> & { version: string; resolved?: unknown } {
  if (!isObject(entry)) throw installFailure(`package-lock.json has no object for "${name}".`);
  if (entry.link !== undefined)
    throw installFailure(`package-lock.json makes "${name}" a link; only packages of a registry can be installed.`);
  if (entry.name !== undefined && entry.name !== name) {
    throw installFailure(
      `package-lock.json makes "${name}" an alias of ${quoted(String(entry.name))}; aliases cannot be installed.`,
    );
  }
  const { version } = entry;
  if (typeof version !== "string" || !VERSION.test(version)) {
    throw installFailure(
      `package-lock.json gives "${name}" the version ${quoted(String(version))}, which no package of a registry has.`,
    );
  }
  return { ...entry, version };
}

/** npm leaves an optional package out when it names other systems than ours (`linux`, or `!win32`). */
function fitsSystem(entry: Record<string, unknown>): boolean {
  if (entry.optional !== true) return true;
  const fits = (list: unknown, own: string) =>
    !Array.isArray(list) ||
    (!list.includes(`!${own}`) && (list.includes(own) || list.every((each) => String(each).startsWith("!"))));
  return fits(entry.os, process.platform) && fits(entry.cpu, process.arch) && fits(entry.libc, "glibc");
}

function checkAddress(name: string, resolved: unknown, registryHosts: readonly string[]): void {
  const url = typeof resolved === "string" ? URL.parse(resolved) : null;
  const known = url !== null && (url.protocol === "https:" || url.protocol === "http:");
  // npm itself replaces the public registry's name by the configured one.
  if (!known || !(url.host === PUBLIC_REGISTRY || registryHosts.includes(url.host))) {
    throw installFailure(`package-lock.json takes "${name}" from ${quoted(String(resolved))}, which is not the registry.`, {
      package: name,
    });
  }
}
