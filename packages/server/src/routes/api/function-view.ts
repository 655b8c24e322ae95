import type { FunctionInput } from "@treadle/functions";
import { INLINE_SOURCE_PATH } from "@treadle/functions";
import type { FunctionDefinition, WorkspaceDefinition } from "@treadle/store";
import type { z } from "zod";
import type { functionInput, functionView, workspaceView } from "../schemas.ts";
import { textOrBase64 } from "./text-or-base64.ts";

/** A function as it is saved, of its JSON form. */
export function inputOf(name: string, input: z.infer<typeof functionInput>): FunctionInput {
  return {
    name,
    language: input.language,
    contract: input.contract,
    code: input.code,
    files: input.files?.map((file) => ({
      path: file.path,
      content: file.text === undefined ? Buffer.from(file.base64 ?? "", "base64") : Buffer.from(file.text),
    })),
    entrypoint: input.entrypoint,
    parameters: input.parameters,
    settings: input.settings as FunctionInput["settings"],
  };
}

/** The JSON form of a function. */
export function viewOfFunction(definition: FunctionDefinition): z.infer<typeof functionView> {
  const { name, language, contract, entrypoint, version, sourceDigest, createdAt, updatedAt } = definition;
  const source =
    definition.buildId !== null
      ? {}
      : contract === "inline"
        ? { code: Buffer.from(definition.files.find((file) => file.path === INLINE_SOURCE_PATH)?.content ?? "").toString("utf8") }
        : {
            files: definition.files.map((file) => ({
              path: file.path,
              ...textOrBase64(Buffer.from(file.content), "text", "base64"),
            })),
          };
  return {
    name,
    language,
    contract,
    ...source,
    entrypoint,
    parameters: definition.parameters as Record<string, unknown> | null,
    settings: (definition.settings ?? {}) as z.infer<typeof functionView>["settings"],
    ...(definition.buildId === null
      ? {}
      : {
          buildId: definition.buildId,
          deploymentSettings: definition.deploymentSettings as z.infer<typeof functionView>["settings"],
        }),
    version,
    sourceDigest,
    createdAt,
    updatedAt,
  };
}

/** The JSON form of a workspace. */
export function viewOfWorkspace(definition: WorkspaceDefinition): z.infer<typeof workspaceView> {
  const { name, revision: current, createdAt, updatedAt, undeployed } = definition;
  return {
    ...{ name, revision: current, createdAt, updatedAt, functions: definition.functions.map(viewOfFunction) },
    ...(undeployed.length === 0 ? {} : { undeployed: [...undeployed] }),
  };
}
