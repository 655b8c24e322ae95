import { TreadleError } from "@treadle/errors";
import type { Contract } from "@treadle/runtimes";
import type { FunctionDefinition, NewFunction } from "@treadle/store";
import type { FunctionSettings } from "./function-settings.ts";
import { checkedFunctionName, shown } from "./names.ts";
import type { SourceFile } from "./program.ts";

/** A function as a user saves it. What a patch leaves out stays as it was. */
export interface FunctionInput {
  readonly name: string;
  readonly language?: string | undefined;
  readonly contract?: Contract | undefined;
  /** inline: the function body. */
  readonly code?: string | undefined;
  /** handler: source files. */
  readonly files?: readonly SourceFile[] | undefined;
  readonly entrypoint?: string | undefined;
  /** The `properties` part of a JSON Schema. */
  readonly parameters?: Record<string, unknown> | null | undefined;
  readonly settings?: FunctionSettings | undefined;
}

const MAX_PATH_BYTES = 512;

/**
 * Checks a path inside a function's source: relative, no way up, nothing a file system chokes on.
 * @throws BAD_REQUEST
 */
export function checkedSourcePath(path: string): string {
  const parts = path.split("/");
  const sound =
    path.length > 0 &&
    Buffer.byteLength(path) <= MAX_PATH_BYTES &&
    path.isWellFormed() &&
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is refused.
    !/[\u0000-\u001f\\]/.test(path) &&
    parts.every((part) => part !== "" && part !== "." && part !== ".." && Buffer.byteLength(part) <= 255);
  if (!sound)
    throw new TreadleError("BAD_REQUEST", `${shown(path)} cannot be a source file's path: use a relative path without "..".`);
  return path;
}

/** The complete form of a function to be saved, its unnamed parts taken from what it was. */
export interface CompleteFunction {
  readonly name: string;
  readonly language: string;
  readonly contract: Contract;
  readonly files: readonly SourceFile[];
  /** The build it is of; null: of `files`. */
  readonly buildId: string | null;
  readonly entrypoint: string | null;
  readonly parameters: Record<string, unknown> | null;
  readonly settings: FunctionSettings;
  /** Those of its version, which go before `settings`. */
  readonly versionSettings: FunctionSettings;
}

/** The settings a function runs with. */
export function effectiveSettings({ settings, versionSettings }: CompleteFunction): FunctionSettings {
  return { ...settings, ...versionSettings };
}

/** A function as the store has it. */
export function fromStored(stored: FunctionDefinition): CompleteFunction {
  const { name, language, contract, files, buildId, entrypoint } = stored;
  return {
    ...{ name, language, contract, files, buildId, entrypoint },
    parameters: stored.parameters as Record<string, unknown> | null,
    settings: (stored.settings ?? {}) as FunctionSettings,
    versionSettings: (stored.deploymentSettings ?? {}) as FunctionSettings,
  };
}

/** A function as it is handed to the store. */
export function toStored(definition: CompleteFunction): NewFunction {
  const { name, language, contract, files, buildId, entrypoint, parameters, settings } = definition;
  return { name, language, contract, files, buildId, entrypoint, parameters, settings };
}

/** The file an inline function's body is stored as. */
export const INLINE_SOURCE_PATH = "body";

/** @throws BAD_REQUEST when the function's parts do not fit together */
export function completeFunction(
  input: FunctionInput,
  previous: CompleteFunction | undefined,
  language: string,
): CompleteFunction {
  const name = checkedFunctionName(input.name);
  const contract = input.contract ?? previous?.contract ?? (input.files === undefined ? "inline" : "handler");
  const refuse = (message: string): never => {
    throw new TreadleError("BAD_REQUEST", `${name}: ${message}`, { details: { function: name } });
  };
  const build = previous !== undefined && input.files === undefined && input.code === undefined ? previous.buildId : null;
  let files: readonly SourceFile[];
  if (build !== null && previous !== undefined) {
    const { contract: built, entrypoint } = previous;
    if (contract !== built || language !== previous.language || (input.entrypoint ?? entrypoint) !== entrypoint)
      refuse("language, contract and entrypoint of a built function change with a new deployment.");
    if ((input.parameters ?? null) !== null) refuse("a built function has no parameters.");
    files = [];
  } else if (contract === "inline") {
    if (input.files !== undefined) refuse('an inline function has "code", not "files".');
    if (input.code !== undefined) {
      if (!input.code.isWellFormed()) refuse("its code is not well-formed Unicode text.");
      files = [{ path: INLINE_SOURCE_PATH, content: Buffer.from(input.code) }];
    } else if (previous?.contract === "inline") files = previous.files;
    else return refuse('it needs "code".');
  } else {
    if (input.code !== undefined) refuse(`a ${contract} function has "files", not "code".`);
    if (input.files !== undefined)
      files = input.files.map((file) => ({ path: checkedSourcePath(file.path), content: file.content }));
    else if (previous !== undefined && previous.contract !== "inline") files = previous.files;
    else return refuse('it needs "files".');
    if (files.length === 0) refuse("it has no source files.");
    if (new Set(files.map((file) => file.path)).size !== files.length) refuse("two of its source files have the same path.");
  }
  // What it was started by says nothing of files in another language.
  const before = previous?.language === language && previous.contract === contract ? previous.entrypoint : null;
  const entrypoint = input.entrypoint ?? before;
  if (contract !== "inline" && build === null && entrypoint !== null && !files.some((file) => file.path === entrypoint)) {
    refuse(`its entrypoint ${shown(entrypoint)} is not among its files.`);
  }
  return {
    name,
    language,
    contract,
    files,
    buildId: build,
    entrypoint,
    parameters: input.parameters === undefined ? (previous?.parameters ?? null) : input.parameters,
    settings: input.settings ?? previous?.settings ?? {},
    versionSettings: build === null ? {} : (previous?.versionSettings ?? {}),
  };
}
