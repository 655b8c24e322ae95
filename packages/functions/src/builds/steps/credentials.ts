import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { BuildStep } from "@treadle/runtimes";

/** Settings of package managers are short; certificates and sources of servers, which are not read, mostly are not. */
const CONFIGURATION_BYTES = 256 * 1024;
const CONFIGURATION = /(?:\.(?:xml|toml|json|ya?ml|ini|conf|properties)|npmrc|netrc|config)$/i;

const IN_ADDRESS = /\b[a-z][a-z0-9+.-]*:\/\/([^\s/@"'<>]+)@/gi;
/** `token = "..."`, `_authToken=...`, `"password": "..."`. */
const NAMED =
  /(?:token|password|passphrase|passwd|secret|api-?key|_auth|credential)["']?\s*[=:]\s*(?:"([^"\n]*)"|'([^'\n]*)'|([^\s"'<>,;]+))/gi;
const IN_ELEMENT = /<(?:password|passphrase|privateKey|token)>\s*([^<]+?)\s*</gi;
const WITH_SCHEME = /\b(?:Bearer|Basic|token)\s+([A-Za-z0-9+/=._~-]{6,})/g;
const SECRET_NAME = /token|password|passwd|secret|api_?key|_auth$|credential/i;

/**
 * What of the operator's package registry configuration must not be shown: users and passwords in addresses, tokens and passwords by their names; in the
 * environment of a step and in the files of settings that are mounted into it.
 */
export async function credentialsOf({ environment, mounts }: Pick<BuildStep, "environment" | "mounts">): Promise<string[]> {
  const found = new Set<string>();
  for (const [name, value] of Object.entries(environment)) {
    if (SECRET_NAME.test(name)) found.add(value);
    for (const each of credentialsIn(value)) found.add(each);
  }
  for (const { source, target } of mounts) {
    if (target.startsWith("/runtime/")) continue;
    for (const path of await settingsBelow(source)) for (const each of credentialsIn(await textOf(path))) found.add(each);
  }
  found.delete("");
  return [...found];
}

function credentialsIn(text: string): string[] {
  const found: string[] = [];
  for (const [, pair = ""] of text.matchAll(IN_ADDRESS)) {
    const [user = "", ...rest] = pair.split(":");
    for (const part of [pair, user, rest.join(":")]) found.push(part, decoded(part));
  }
  for (const [, quoted, single, bare] of text.matchAll(NAMED)) found.push(quoted ?? single ?? bare ?? "");
  for (const pattern of [IN_ELEMENT, WITH_SCHEME]) for (const [, value = ""] of text.matchAll(pattern)) found.push(value);
  return found;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The file itself, or those of a folder that are settings by their names. Toolchains are folders, too, but have theirs further down. */
async function settingsBelow(source: string): Promise<string[]> {
  const entries = await readdir(source, { withFileTypes: true }).catch(() => null);
  const paths = entries === null ? [source] : entries.filter((entry) => entry.isFile()).map(({ name }) => join(source, name));
  return paths.filter((path) => CONFIGURATION.test(path));
}

/** Empty for what is no file, too long, or gone. */
async function textOf(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    return size > CONFIGURATION_BYTES ? "" : await readFile(path, "utf8");
  } catch {
    return "";
  }
}
