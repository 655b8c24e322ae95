import { parse } from "smol-toml";
import { installFailure } from "../install-failure.ts";
import type { PackagePolicy } from "../package-policy.ts";
import { type Requirement, readRequirement } from "./requirements.ts";

/**
 * The dependencies of a pyproject.toml. Only `[project] dependencies` counts: the project itself is not built, so nothing in the file can
 * run. Throws INSTALL_FAILED.
 */
export function readPyproject(text: string, policy: PackagePolicy): Requirement[] {
  const project = table(table(parseToml(text, "pyproject.toml"), "project"));
  const sources = table(table(table(parseToml(text, "pyproject.toml"), "tool"), "uv"), "sources");
  if (Object.keys(sources).length > 0) {
    throw installFailure("pyproject.toml has tool.uv.sources; only packages of the index can be installed.");
  }
  if (Array.isArray(project.dynamic) && project.dynamic.includes("dependencies")) {
    throw installFailure("pyproject.toml computes its dependencies; write them into [project] dependencies.");
  }
  const dependencies = project.dependencies ?? [];
  if (!Array.isArray(dependencies) || !dependencies.every((each) => typeof each === "string")) {
    throw installFailure("[project] dependencies in pyproject.toml is not a list of texts.");
  }
  return dependencies.map((each: string) => readRequirement(each.replace(/[\r\n]/g, " "), policy));
}

export function parseToml(text: string, what: string): Record<string, unknown> {
  try {
    return parse(text);
  } catch (error) {
    throw installFailure(`${what} is not TOML: ${(error as Error).message.split("\n")[0]?.slice(0, 200)}.`);
  }
}

/** The value as a table, or its member of this name as one; an empty one when it is none. */
function table(value: unknown, name?: string): Record<string, unknown> {
  const found = name === undefined ? value : (value as Record<string, unknown>)[name];
  return typeof found === "object" && found !== null && !Array.isArray(found) ? (found as Record<string, unknown>) : {};
}
