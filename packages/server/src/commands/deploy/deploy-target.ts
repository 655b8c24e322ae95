import { createReadStream, readFileSync, type Stats, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import type { Readable } from "node:stream";
import { parseDocument } from "yaml";
import { packFolder } from "./pack-folder.ts";
import { invalid, TREADLE_YAML } from "./treadle-yaml.ts";

const ARCHIVE = /\.(tar\.gz|tgz|tar|zip)$/i;
/** Keys of a treadle.yaml that describes one function to be built. */
const OF_ONE = ["function", "language", "contract", "entrypoint", "command", "settings"];

/** What `treadle deploy` was pointed at. */
export type DeployTarget =
  /** A folder whose treadle.yaml lists `functions`. */
  | { readonly kind: "functions"; readonly directory: string }
  /** The source of one function, to be built. */
  | {
      readonly kind: "source";
      /** From treadle.yaml, else from the name of the folder, archive or repository. */
      readonly functionName: string;
      readonly workspace: string | undefined;
      readonly source: { readonly open: () => Readable } | { readonly git: { readonly url: string; readonly ref?: string } };
    };

/** @throws INVALID_DEPLOYMENT when there is nothing of the kind */
export function deployTarget(target: string): DeployTarget {
  if (/^https?:\/\//i.test(target)) {
    const [url = "", ref] = target.split("#", 2);
    const name = basename(url.replace(/\/+$/, "")).replace(/\.git$/, "");
    const git = { url, ...(ref === undefined || ref === "" ? {} : { ref }) };
    return { kind: "source", functionName: name, workspace: undefined, source: { git } };
  }
  let stats: Stats;
  try {
    stats = statSync(target);
  } catch (error) {
    throw invalid([`${target} ${(error as NodeJS.ErrnoException).code === "ENOENT" ? "does not exist" : "cannot be read"}.`]);
  }
  const path = resolve(target);
  if (stats.isFile()) {
    if (!ARCHIVE.test(path)) throw invalid([`${target} is no folder, and no .tar.gz, .tgz, .tar or .zip.`]);
    const functionName = basename(path).replace(ARCHIVE, "");
    return { kind: "source", functionName, workspace: undefined, source: { open: () => createReadStream(path) } };
  }
  if (!stats.isDirectory()) throw invalid([`${target} is neither a folder nor an archive.`]);
  const said = readRoot(path);
  // Whatever else is in it is told where it is read: by us for `functions`, by the server for a source.
  if (said !== null && ("functions" in said || !OF_ONE.some((key) => key in said)))
    return { kind: "functions", directory: target };
  return {
    kind: "source",
    functionName: textOf(said, "function") ?? basename(path),
    workspace: textOf(said, "workspace"),
    source: { open: () => packFolder(path) },
  };
}

/** The mapping that treadle.yaml is; null: there is none. */
function readRoot(folder: string): Record<string, unknown> | null {
  let text: string;
  try {
    text = readFileSync(join(folder, TREADLE_YAML), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw invalid([`${TREADLE_YAML} cannot be read: ${(error as NodeJS.ErrnoException).code}.`]);
  }
  const document = parseDocument(text, { uniqueKeys: true });
  // A faulty one is reported with all its places where it is read as a whole.
  if (document.errors.length > 0) return {};
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch {
    return {};
  }
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

/** @throws INVALID_DEPLOYMENT */
function textOf(said: Record<string, unknown> | null, key: string): string | undefined {
  const value = said?.[key];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string") throw invalid([`${TREADLE_YAML}: ${key}: must be a text`]);
  return value;
}
