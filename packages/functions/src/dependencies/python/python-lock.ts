import { installFailure, quoted } from "../install-failure.ts";
import type { Package } from "../install-state.ts";
import type { PackagePolicy } from "../package-policy.ts";
import { isPythonName, normalizePythonName } from "./python-names.ts";

/** A requirements.txt in which every package has one version and the hashes of its files. */
export interface PythonLock {
  readonly text: string;
  readonly packages: readonly Package[];
}

/**
 * Reads and checks a lock as uv writes it. Throws INSTALL_FAILED for everything that is not `name==version` with hashes, for packages
 * that `policy` denies, and when none of the files that `wanted` allows (by normalised name) is there.
 */
export function readPythonLock(
  text: string,
  policy: PackagePolicy,
  wanted: ReadonlyMap<string, readonly string[]> = new Map(),
): PythonLock {
  const packages: Package[] = [];
  const lines: string[] = [];
  for (const raw of text.replace(/\\\r?\n/g, " ").split(/\r?\n/)) {
    const line = raw.replace(/(?:^|\s)#.*$/, "").trim();
    if (line === "") continue;
    const [requirement = "", ...found] = line.split(/\s+--hash=/);
    const [, name = "", version = "", marker = ""] =
      /^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([A-Za-z0-9.+!_-]+)(\s*;[^@]*)?$/.exec(requirement) ?? [];
    if (!isPythonName(name) || !found.every((hash) => /^[a-z0-9]+:[0-9a-f]+$/.test(hash))) {
      throw installFailure(`The lock has ${quoted(line)}; only packages of the index can be installed.`);
    }
    policy(name);
    const only = wanted.get(normalizePythonName(name));
    const hashes = only === undefined ? found : found.filter((hash) => only.includes(hash));
    if (hashes.length === 0) {
      throw installFailure(
        found.length === 0
          ? `The lock has no hash for "${name}".`
          : `The index has no file of "${name}" ${version} with the hash that is asked for.`,
        { package: name },
      );
    }
    packages.push({ name, version });
    lines.push(
      [
        `${name}==${version}${marker.trim() === "" ? "" : ` ${marker.trim()}`}`,
        ...hashes.toSorted().map((hash) => `    --hash=${hash}`),
      ].join(" \\\n"),
    );
  }
  return { text: lines.length === 0 ? "" : `${lines.join("\n")}\n`, packages };
}
