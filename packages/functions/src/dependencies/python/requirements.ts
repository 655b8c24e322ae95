import { installFailure, quoted } from "../install-failure.ts";
import type { PackagePolicy } from "../package-policy.ts";
import { isPythonName, normalizePythonName } from "./python-names.ts";

/** One line of a requirements.txt. */
export interface Requirement {
  /** As written. */
  readonly name: string;
  /** What uv gets to see: name, extras, versions and marker, without hashes. */
  readonly line: string;
  /** `sha256:...`: the only files the user takes for this package; empty: any. */
  readonly hashes: readonly string[];
}

const VERSION_CLAUSE = "(?:~=|===?|!=|<=?|>=?)\\s*[A-Za-z0-9.*+!_-]+";
const SPECIFIER = new RegExp(`^\\(?\\s*${VERSION_CLAUSE}(?:\\s*,\\s*${VERSION_CLAUSE})*\\s*,?\\s*\\)?$`);
const EXTRAS = /^\[\s*(?:[A-Za-z0-9._-]+(?:\s*,\s*[A-Za-z0-9._-]+)*)?\s*\]/;

/** Reads and checks a requirements.txt: names, versions, extras, markers and hashes; no options, files or addresses. */
export function readRequirements(text: string, policy: PackagePolicy): Requirement[] {
  const joined = text.replace(/^\ufeff/, "").replace(/\\\r?\n/g, " ");
  const requirements: Requirement[] = [];
  for (const raw of joined.split(/\r?\n/)) {
    const line = raw.replace(/(?:^|\s)#.*$/, "").trim();
    if (line !== "") requirements.push(readRequirement(line, policy));
  }
  return requirements;
}

/** Reads and checks one requirement (PEP 508). Throws INSTALL_FAILED. */
export function readRequirement(text: string, policy: PackagePolicy): Requirement {
  const hashes = [...text.matchAll(/\s--hash[= ]([a-z0-9]+:[0-9a-f]+)(?=\s|$)/g)].map((match) => match[1] as string);
  const bare = text.replace(/\s--hash[= ][a-z0-9]+:[0-9a-f]+(?=\s|$)/g, "").trim();
  const name = /^[A-Za-z0-9._-]*/.exec(bare)?.[0] ?? "";
  if (!isPythonName(name)) {
    throw installFailure(
      `${quoted(bare)} does not name a package; only packages of the index can be installed, without options, files or addresses.`,
    );
  }
  let rest = bare.slice(name.length).trim();
  const extras = EXTRAS.exec(rest)?.[0] ?? "";
  rest = rest.slice(extras.length).trim();
  const semicolon = rest.indexOf(";");
  const specifier = (semicolon < 0 ? rest : rest.slice(0, semicolon)).trim();
  const marker = semicolon < 0 ? "" : rest.slice(semicolon + 1).trim();
  if ((specifier !== "" && !SPECIFIER.test(specifier)) || !/^[\w\s.'"<>=!~()*+,-]*$/.test(marker)) {
    throw installFailure(
      `"${name}" asks for ${quoted(rest)}; only versions of the index can be installed, not addresses, files or options.`,
      {
        package: name,
      },
    );
  }
  policy(name);
  const versions = specifier.replace(/^\(|\)$/g, "").trim();
  return { name, line: `${name}${extras}${versions}${marker === "" ? "" : ` ; ${marker}`}`, hashes };
}

/** Hashes the user insists on, by normalised name. */
export function hashesByName(requirements: readonly Requirement[]): Map<string, readonly string[]> {
  return new Map(
    requirements.filter((each) => each.hashes.length > 0).map((each) => [normalizePythonName(each.name), each.hashes]),
  );
}
