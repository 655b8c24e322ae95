import { basename } from "node:path";
import { TreadleError } from "@treadle/errors";
import { DeploymentFolder, type SourceFile } from "./source-files.ts";
import { type FunctionEntry, invalid, readTreadleYaml, type TreadleYaml } from "./treadle-yaml.ts";

/** Locks that go along when they lie beside the manifest that is named. */
const LOCKS: Readonly<Record<string, string>> = { "package.json": "package-lock.json", "pyproject.toml": "uv.lock" };

/** What a folder says is to be deployed, in the API's form. */
export interface Deployment {
  readonly workspace: string;
  readonly mode: "replace" | "merge";
  readonly functions: Readonly<Record<string, object>>;
  /** Manifest files by language and name. */
  readonly dependencies: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** The server's refusal in the folder's own words: file, line and column. */
  explain(error: unknown): unknown;
}

/**
 * Reads a folder with its treadle.yaml.
 * @throws INVALID_DEPLOYMENT naming file and line
 */
export function readDeployment(directory: string, workspace?: string): Deployment {
  const folder = new DeploymentFolder(directory);
  const yaml = readTreadleYaml(directory);
  const name = workspace ?? yaml.workspace;
  if (name === undefined) throw invalid([`${yaml.placeOf([])}: name the "workspace" here, or give --workspace`]);
  const sources = new Map<string, readonly SourceFile[]>();
  const functions: Record<string, object> = {};
  for (const [functionName, entry] of Object.entries(yaml.functions)) {
    const { contract: _contract, code, file, source, ...rest } = entry;
    const place = yaml.placeOf(["functions", functionName, file === undefined ? "source" : "file"]);
    if (source === undefined) {
      const body = file === undefined ? code : textOf(folder.file(file, place), file, place);
      define(functions, functionName, { contract: "inline", code: body, ...rest });
    } else {
      const files = folder.source(source, place);
      sources.set(functionName, files);
      define(functions, functionName, { contract: "handler", files: files.map(inApiForm), ...rest });
    }
  }
  const dependencies: Record<string, Record<string, string>> = {};
  for (const [language, path] of Object.entries(yaml.dependencies)) {
    const place = yaml.placeOf(["dependencies", language]);
    const files = { [basename(path)]: textOf(folder.file(path, place), path, place) };
    const lock = LOCKS[basename(path)];
    const locked = lock === undefined ? null : folder.besides(path, lock, place);
    if (lock !== undefined && locked !== null) files[lock] = textOf(locked, lock, place);
    define(dependencies, language, files);
  }
  return { workspace: name, mode: yaml.mode, functions, dependencies, explain: (error) => explained(error, yaml, sources) };
}

/** Sets a key that may be `__proto__`. */
function define<T>(target: Record<string, T>, key: string, value: T): void {
  Object.defineProperty(target, key, { value, enumerable: true, writable: true, configurable: true });
}

function textOf(content: Buffer, path: string, place: string): string {
  const text = content.toString("utf8");
  if (!Buffer.from(text).equals(content)) throw invalid([`${place}: ${path} is not UTF-8 text`]);
  return text;
}

function inApiForm({ path, content }: SourceFile): object {
  const text = content.toString("utf8");
  return Buffer.from(text).equals(content) ? { path, text } : { path, base64: content.toString("base64") };
}

interface Fault {
  readonly function?: unknown;
  readonly file?: unknown;
  readonly line?: unknown;
  readonly column?: unknown;
  readonly message?: unknown;
}

function explained(error: unknown, yaml: TreadleYaml, sources: ReadonlyMap<string, readonly SourceFile[]>): unknown {
  if (!(error instanceof TreadleError)) return error;
  const details = (error.details ?? {}) as Fault & { readonly errors?: readonly Fault[] };
  const name = details.function;
  if (typeof name !== "string" || !Object.hasOwn(yaml.functions, name)) return error;
  const faults = error.code === "SYNTAX_ERROR" && Array.isArray(details.errors) ? (details.errors as Fault[]) : [];
  const message =
    faults.length > 0
      ? faults.map((fault) => syntaxFaultText(fault, yaml, sources)).join("\n")
      : `${yaml.placeOf(["functions", name])}: ${error.message}`;
  return new TreadleError(error.code, message, { details: error.details });
}

function syntaxFaultText(fault: Fault, yaml: TreadleYaml, sources: ReadonlyMap<string, readonly SourceFile[]>): string {
  const name = String(fault.function);
  const entry: FunctionEntry | undefined = Object.hasOwn(yaml.functions, name) ? yaml.functions[name] : undefined;
  const { line, column, file } = fault;
  const message = `${String(fault.message)} (function ${name})`;
  if (entry === undefined) return message;
  if (typeof line !== "number") return `${entry.source ?? entry.file ?? yaml.placeOf(["functions", name])}: ${message}`;
  const position = `${line}${typeof column === "number" ? `:${column}` : ""}`;
  if (entry.file !== undefined) return `${entry.file}:${position}: ${message}`;
  if (entry.code !== undefined) return `${yaml.placeInCode(name, line, typeof column === "number" ? column : 1)}: ${message}`;
  const folder = (entry.source ?? "").replace(/^\.\/|\/+$/g, "");
  const files = sources.get(name) ?? [];
  const path = typeof file === "string" ? file : files.length === 1 ? files[0]?.path : undefined;
  // Several files and no word on which: better no file than the wrong one.
  if (path === undefined) return `${folder}/: line ${position}: ${message}`;
  return `${folder === "" || folder === "." ? "" : `${folder}/`}${path}:${position}: ${message}`;
}
