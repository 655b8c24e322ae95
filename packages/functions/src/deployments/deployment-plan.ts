import { TreadleError } from "@treadle/errors";
import type { Runtime, Runtimes } from "@treadle/runtimes";
import { parse } from "yaml";
import { runtimeNamed } from "../assemble-functions.ts";
import type { Source } from "../builds/builds.ts";
import { checkedSourcePath } from "../function-input.ts";
import { checkedSettings, checkSettingsFit, type FunctionSettings } from "../function-settings.ts";
import { shown } from "../names.ts";
import type { NewDeployment } from "./deployments.ts";

const LONGEST_COMMAND = 4_096;
/** What a treadle.yaml at a source's root may say of the function it is the source of. `function` and `workspace` are for whoever sends it. */
const KEYS = new Set(["function", "workspace", "language", "contract", "entrypoint", "command", "settings"]);

/** How a source is built and called. */
export interface DeploymentPlan {
  readonly runtime: Runtime;
  readonly contract: "handler" | "script";
  readonly entrypoint: string | null;
  readonly command: string | null;
  readonly settings: FunctionSettings;
}

/**
 * What the request says, else the source's treadle.yaml, else what its files tell.
 * @throws INVALID_DEPLOYMENT for a faulty treadle.yaml, UNKNOWN_RUNTIME, BAD_REQUEST when the language cannot be told or does not take the contract
 */
export function deploymentPlan(functionName: string, input: NewDeployment, source: Source, runtimes: Runtimes): DeploymentPlan {
  const said = source.treadleYaml === null ? {} : readFile(source.treadleYaml);
  const language = input.language ?? said.language;
  const runtime = language === undefined ? toldByFiles(source, runtimes) : runtimeNamed(language, functionName, runtimes);
  const contract = input.contract ?? said.contract ?? "handler";
  if (!runtime.contracts.includes(contract)) {
    throw new TreadleError(
      "BAD_REQUEST",
      `${runtime.language} has no ${contract} functions; it has ${runtime.contracts.join(", ")}.`,
    );
  }
  const entrypoint = input.entrypoint ?? said.entrypoint ?? null;
  const command = input.command ?? said.command ?? null;
  if (entrypoint !== null) checkedSourcePath(entrypoint);
  if (command !== null && (command.length > LONGEST_COMMAND || command.includes("\0") || !command.isWellFormed()))
    throw new TreadleError("BAD_REQUEST", `The build command must be a text of at most ${LONGEST_COMMAND} characters.`);
  const settings = input.settings ?? checkedSettings(said.settings, "treadle.yaml");
  checkSettingsFit(functionName, settings, runtime);
  return { runtime, contract, entrypoint, command, settings };
}

interface SaidInFile {
  readonly language?: string;
  readonly contract?: "handler" | "script";
  readonly entrypoint?: string;
  readonly command?: string;
  readonly settings?: unknown;
}

/** @throws INVALID_DEPLOYMENT */
function readFile(text: string): SaidInFile {
  let value: unknown;
  try {
    value = parse(text, { maxAliasCount: 100 });
  } catch (error) {
    throw invalid(error instanceof Error ? error.message.slice(0, 500) : String(error));
  }
  if (value === null || value === undefined) return {};
  if (typeof value !== "object" || Array.isArray(value)) throw invalid("it must be a mapping");
  const said = value as Record<string, unknown>;
  if ("functions" in said) throw invalid('it describes functions of a workspace ("functions"), not one to be built ("function")');
  for (const [key, each] of Object.entries(said)) {
    if (!KEYS.has(key)) throw invalid(`there is no ${shown(key)} here`);
    if (key !== "settings" && typeof each !== "string") throw invalid(`${key} must be a text`);
  }
  const { contract } = said;
  if (contract !== undefined && contract !== "handler" && contract !== "script")
    throw invalid('contract must be "handler" or "script"');
  return said as SaidInFile;
}

/** The language that marker files at the root tell of; else the one whose usual entry file is there; else the only one with files there. */
function toldByFiles({ topLevel }: Source, runtimes: Runtimes): Runtime {
  const names = new Set(topLevel);
  const by = (fits: (runtime: Runtime) => boolean): readonly Runtime[] => runtimes.available.filter(fits);
  const steps = [
    by(({ markerFiles, fileEndings }) => markerFiles.some((name) => names.has(name)) && hasEnding(topLevel, fileEndings)),
    by(({ defaultEntrypoint }) => names.has(defaultEntrypoint)),
    by(({ markerFiles }) => markerFiles.some((name) => names.has(name))),
    by(({ fileEndings }) => hasEnding(topLevel, fileEndings)),
  ];
  for (const found of steps) {
    const [first] = found;
    if (first !== undefined && found.length === 1) return first;
    // Of Node, Bun and Deno, who share their files' endings, the plainest is meant unless something says otherwise.
    const plainest = found.find(({ language }) => language === "node");
    if (plainest !== undefined) return plainest;
  }
  const told = [...new Set(steps.flat().map(({ language }) => language))];
  throw new TreadleError(
    "BAD_REQUEST",
    told.length === 0
      ? 'The files do not tell their language: say it, in the request or as "language" in treadle.yaml.'
      : `The files could be ${told.join(" or ")}: say which, in the request or as "language" in treadle.yaml.`,
    { details: { languages: told } },
  );
}

function hasEnding(topLevel: readonly string[], endings: readonly string[]): boolean {
  return topLevel.some((name) => endings.some((ending) => name.endsWith(ending)));
}

function invalid(what: string): TreadleError {
  return new TreadleError("INVALID_DEPLOYMENT", `treadle.yaml of the source: ${what}.`);
}
