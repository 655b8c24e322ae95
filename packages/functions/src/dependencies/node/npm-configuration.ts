import { execFile } from "node:child_process";
import { realpathSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, dirname, isAbsolute, join } from "node:path";
import { credentialsIn, hostOf, type PrivateFile, type RegistryAccess, registryHost } from "../registry-access.ts";

type Environment = Readonly<Record<string, string | undefined>>;

const DEFAULT_REGISTRY = "https://registry.npmjs.org/";

/** Keys that decide where packages come from and who we are there; the rest of an operator's configuration is none of an install's business. */
const TAKEN =
  /^(?:registry|strict-ssl|ca|replace-registry-host|fetch-(?:retries|timeout)|@[^:]+:registry|\/\/.+:(?:_authToken|_auth|username|_password|email|certfile|keyfile|cafile))$/;
const SECRET = /:(?:_authToken|_auth|_password)$/;
const FILE = /^(?:cafile|\/\/.+:(?:certfile|keyfile|cafile))$/;

/**
 * What the operator's npm would do, as a private npmrc: registry, registries of scopes, credentials, certificates. Read like npm does: environment
 * (`npm_config_*`) before the user's file before the global one.
 *
 * @param folder where the sandbox will see the files, to be named in the npmrc
 */
export async function readNpmConfiguration(environment: Environment, folder: string): Promise<RegistryAccess> {
  const merged = new Map<string, string>();
  for (const file of await configurationFiles(environment)) {
    for (const [key, value] of parseNpmrc(await readOrEmpty(file), environment)) merged.set(key, value);
  }
  for (const [name, value] of Object.entries(environment)) {
    const key = /^npm_config_(.+)$/i.exec(name)?.[1];
    if (key === undefined || value === undefined || value === "") continue;
    // Addresses of registries keep their spelling, ordinary keys are written with underscores.
    merged.set(/^(?:\/\/|@)/.test(key) ? key : key.toLowerCase().replaceAll("_", "-"), value);
  }
  if (!merged.has("registry")) merged.set("registry", DEFAULT_REGISTRY);
  return toAccess(merged, environment.NODE_EXTRA_CA_CERTS, folder);
}

async function toAccess(
  merged: ReadonlyMap<string, string>,
  extraCertificates: string | undefined,
  folder: string,
): Promise<RegistryAccess> {
  const files: PrivateFile[] = [];
  const lines: string[] = [];
  const hosts: string[] = [];
  const trusted: string[] = [];
  const secrets: string[] = [];
  const settings: Record<string, string> = {};
  const addFile = async (source: string): Promise<string | null> => {
    const content = await readOrEmpty(source);
    if (content === "") return null;
    const name = `certificate-${files.length}.pem`;
    files.push({ name, content });
    return `${folder}/${name}`;
  };
  for (const [key, value] of merged) {
    if (FILE.test(key)) {
      const copy = await addFile(value);
      // As variables and not in the file, because a driver may have to translate paths and knows only where variables are.
      if (copy !== null) settings[`npm_config_${key}`] = copy;
      continue;
    }
    if (!TAKEN.test(key) || /[\r\n]/.test(value)) continue;
    if (SECRET.test(key)) secrets.push(value);
    if (key === "registry" || key.endsWith(":registry")) {
      hosts.push(hostOf(value));
      trusted.push(registryHost(value));
      secrets.push(...credentialsIn(value));
    }
    // Quoted as JSON, which npm's ini reads, so that a `;` or `#` in a token stays part of it.
    lines.push(`${key}=${/^[\w./:@+-]*$/.test(value) ? value : JSON.stringify(value)}`);
  }
  const extra = extraCertificates ? await addFile(extraCertificates) : null;
  files.push({ name: "npmrc", content: `${lines.join("\n")}\n` });
  return {
    files,
    mounts: [],
    hosts,
    trusted,
    secrets,
    environment: extra === null ? settings : { ...settings, NODE_EXTRA_CA_CERTS: extra },
  };
}

/** Lines `key=value` of an npmrc; `${NAME}` and `${NAME?}` stand for environment variables. */
export function parseNpmrc(text: string, environment: Environment): [string, string][] {
  const entries: [string, string][] = [];
  for (const line of text.split(/\r?\n/)) {
    const match = /^\s*([^;#=\s][^=]*?)\s*=\s*(.*?)\s*$/.exec(line);
    if (!match) continue;
    const [, key = "", raw = ""] = match;
    const value = /^".*"$/.test(raw) ? unquoted(raw) : raw.replace(/^'(.*)'$/, "$1");
    entries.push([expand(key, environment), expand(value, environment)]);
  }
  return entries;
}

function unquoted(raw: string): string {
  try {
    return String(JSON.parse(raw));
  } catch {
    return raw.slice(1, -1);
  }
}

function expand(text: string, environment: Environment): string {
  return text.replace(/\$\{([^${}?]+)(\?)?\}/g, (whole, name: string, optional) => environment[name] ?? (optional ? "" : whole));
}

/** The operator's npmrc files, the more important later. Where the global one is, only the operator's own npm knows. */
async function configurationFiles(environment: Environment): Promise<string[]> {
  const named = (name: string) => Object.entries(environment).find(([key]) => key.toLowerCase() === `npm_config_${name}`)?.[1];
  const user = named("userconfig") ?? join(environment.HOME ?? homedir(), ".npmrc");
  const global = named("globalconfig") ?? (await globalConfiguration(environment));
  return [global, user].filter((file): file is string => file !== undefined && isAbsolute(file));
}

async function globalConfiguration(environment: Environment): Promise<string | undefined> {
  const path = (environment.PATH ?? "")
    .split(delimiter)
    .filter((folder) => isAbsolute(folder) && !folder.includes("node_modules"));
  for (const folder of path) {
    const npm = join(folder, "npm");
    try {
      realpathSync(npm);
    } catch {
      continue;
    }
    // npm derives its prefix from the Node that runs it, so it has to be the one it came with, not ours.
    const env = { ...environment, PATH: [dirname(npm), ...path].join(delimiter) } as NodeJS.ProcessEnv;
    const output = await new Promise<string>((resolve) => {
      execFile(npm, ["config", "get", "globalconfig"], { env, timeout: 20_000, cwd: "/" }, (error, stdout) =>
        resolve(error ? "" : stdout),
      );
    });
    return output.trim().split("\n").at(-1) || undefined;
  }
  return undefined;
}

async function readOrEmpty(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch {
    return "";
  }
}
