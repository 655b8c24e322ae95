import { execFile } from "node:child_process";
import { readFile, stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Mount } from "@treadle/sandbox";
import { credentialsIn, hostOf, type PrivateFile, type RegistryAccess, registryHost } from "../registry-access.ts";

type Environment = Readonly<Record<string, string | undefined>>;

const DEFAULT_INDEX = "https://pypi.org/simple";
/** The default index sends every download here. */
const DEFAULT_INDEX_FILES = "files.pythonhosted.org:443";

/**
 * What the operator's uv or pip would do, as settings of uv: indexes, folders of packages, certificates. uv's own variables (`UV_*`) count before pip's
 * configuration (`PIP_*`, pip.conf).
 *
 * @param folder where the sandbox will see the private files
 */
export async function readIndexConfiguration(environment: Environment, folder: string): Promise<RegistryAccess> {
  const pip = await pipConfiguration(environment);
  const index = environment.UV_DEFAULT_INDEX || environment.UV_INDEX_URL || pip.get("index-url") || DEFAULT_INDEX;
  const extra = words(environment.UV_INDEX || environment.UV_EXTRA_INDEX_URL || pip.get("extra-index-url"));
  const links = words((environment.UV_FIND_LINKS ?? "").replaceAll(",", " ") || pip.get("find-links"));
  const noIndex = /^(?:1|true|yes|on)$/i.test(environment.UV_NO_INDEX ?? pip.get("no-index") ?? "");

  const urls = noIndex ? [] : [index, ...extra.map((each) => each.replace(/^[\w-]+=(?=https?:)/, ""))];
  const mounts: Mount[] = [];
  const findLinks: string[] = [];
  for (const link of links) {
    if (/^https?:/.test(link)) {
      urls.push(link);
      findLinks.push(link);
      continue;
    }
    const source = link.startsWith("file:") ? fileURLToPath(link) : link;
    if (!(await isFolder(source))) continue;
    const target = `/find-links/${mounts.length}`;
    mounts.push({ source, target, access: "read-only" });
    findLinks.push(target);
  }

  const files: PrivateFile[] = [];
  const certificate = environment.SSL_CERT_FILE || pip.get("cert");
  const bundle = certificate ? await readFile(certificate, "utf8").catch(() => null) : null;
  if (bundle !== null) files.push({ name: "certificates.pem", content: bundle });
  const insecure = words(environment.UV_INSECURE_HOST || pip.get("trusted-host"));
  return {
    files,
    mounts,
    hosts: urls.map(hostOf),
    trusted: [...urls.map(registryHost), ...(urls.includes(DEFAULT_INDEX) ? [DEFAULT_INDEX_FILES] : [])],
    secrets: [...new Set(urls.flatMap(credentialsIn))],
    environment: {
      ...(noIndex ? { UV_NO_INDEX: "1" } : { UV_DEFAULT_INDEX: index }),
      ...(!noIndex && extra.length > 0 ? { UV_INDEX: extra.join(" ") } : {}),
      ...(findLinks.length > 0 ? { UV_FIND_LINKS: findLinks.join(",") } : {}),
      ...(bundle !== null ? { SSL_CERT_FILE: `${folder}/certificates.pem` } : {}),
      ...(insecure.length > 0 ? { UV_INSECURE_HOST: insecure.join(" ") } : {}),
    },
  };
}

function words(text: string | undefined): string[] {
  return (text ?? "").split(/\s+/).filter((word) => word !== "");
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => path.startsWith("/") && found.isDirectory(),
    () => false,
  );
}

/** pip's settings by name, all its files and variables merged as pip itself merges them; without pip only the variables. */
async function pipConfiguration(environment: Environment): Promise<Map<string, string>> {
  for (const command of [
    ["pip3", "config", "list"],
    ["python3", "-m", "pip", "config", "list"],
  ]) {
    const [program = "", ...args] = command;
    const output = await new Promise<string | null>((resolve) => {
      const options = { env: environment as NodeJS.ProcessEnv, timeout: 20_000, cwd: "/" };
      execFile(program, args, options, (error, stdout) => resolve(error === null ? stdout : null));
    });
    if (output !== null) return parsePipConfiguration(output);
  }
  const variables = Object.entries(environment).filter(([name, value]) => name.startsWith("PIP_") && value);
  return new Map(variables.map(([name, value]) => [name.slice(4).toLowerCase().replaceAll("_", "-"), value as string]));
}

/** Reads `pip config list`: lines `section.name='value'`; the section `:env:` counts before `install`, that before `global`. */
export function parsePipConfiguration(output: string): Map<string, string> {
  const rank = ["global", "install", ":env:"];
  const found = new Map<string, { rank: number; value: string }>();
  for (const line of output.split("\n")) {
    const match = /^([\w:]+)\.\.?([\w-]+)=(['"])(.*)\3\s*$/.exec(line);
    if (!match) continue;
    const [, section = "", name = "", , text = ""] = match;
    const value = { rank: rank.indexOf(section), value: text.replace(/\\n/g, "\n").replace(/\\(['"\\])/g, "$1") };
    if (value.rank >= 0 && value.rank >= (found.get(name)?.rank ?? -1)) found.set(name, value);
  }
  return new Map([...found].map(([name, { value }]) => [name, value]));
}
