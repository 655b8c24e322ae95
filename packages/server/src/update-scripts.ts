import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { isTreadleError } from "@treadle/errors";
import { type FunctionInput, type Functions, INLINE_SOURCE_PATH } from "@treadle/functions";
import type { WorkspaceDefinition } from "@treadle/store";
import { parse } from "yaml";
import { z } from "zod";

const workspaceFile = z.looseObject({
  functions: z.record(
    z.string(),
    z.looseObject({ code: z.string(), language: z.string().optional(), parameters: z.record(z.string(), z.unknown()).nullish() }),
  ),
});

/** What came of the folders that hold a workspace.yaml. */
export interface UpdateReport {
  readonly saved: readonly string[];
  readonly unchanged: readonly string[];
  readonly failed: readonly { readonly workspace: string; readonly reason: string }[];
}

/**
 * Saves the functions of every `FOLDER/WORKSPACE/workspace.yaml` that differ from what is stored: how data of the functions
 * service that Treadle replaces is taken over. One broken file does not keep the others from being saved.
 */
export async function updateScripts(folder: string, functions: Functions): Promise<UpdateReport> {
  const saved: string[] = [];
  const unchanged: string[] = [];
  const failed: { workspace: string; reason: string }[] = [];
  for (const entry of (await readdir(folder, { withFileTypes: true })).sort((a, b) => a.name.localeCompare(b.name))) {
    if (!entry.isDirectory()) continue;
    const workspace = entry.name;
    const text = await readFile(join(folder, workspace, "workspace.yaml"), "utf8").catch(() => null);
    if (text === null) continue;
    try {
      const wanted = Object.entries(workspaceFile.parse(parse(text)).functions).map(
        ([name, { code, language, parameters }]): FunctionInput => ({
          name,
          code,
          language,
          parameters: parameters ?? null,
          contract: "inline",
        }),
      );
      if (isSame(wanted, await stored(functions, workspace), functions)) unchanged.push(workspace);
      else {
        await functions.save(workspace, { mode: "replace", functions: wanted });
        saved.push(workspace);
      }
    } catch (error) {
      failed.push({ workspace, reason: error instanceof Error ? error.message.slice(0, 500) : String(error) });
    }
  }
  return { saved, unchanged, failed };
}

async function stored(functions: Functions, workspace: string): Promise<WorkspaceDefinition | null> {
  try {
    return await functions.workspace(workspace);
  } catch (error) {
    if (isTreadleError(error) && error.code === "UNKNOWN_WORKSPACE") return null;
    throw error;
  }
}

function isSame(wanted: readonly FunctionInput[], definition: WorkspaceDefinition | null, functions: Functions): boolean {
  if (definition === null || definition.functions.length !== wanted.length) return false;
  return wanted.every(({ name, code, language, parameters }) => {
    const found = definition.functions.find((each) => each.name === name);
    const body = found?.files.find((file) => file.path === INLINE_SOURCE_PATH)?.content ?? "";
    return (
      found !== undefined &&
      Buffer.from(body).toString("utf8") === code &&
      found.language === (functions.runtimes.named(language ?? "node")?.language ?? language) &&
      isDeepStrictEqual(found.parameters, parameters)
    );
  });
}
