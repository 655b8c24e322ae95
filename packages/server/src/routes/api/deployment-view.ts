import type { DeploymentView } from "@treadle/functions";
import { z } from "zod";
import { functionName, functionSettings, workspaceName } from "../schemas.ts";

const failure = z.object({ code: z.string(), message: z.string() }).nullable();

export const buildView = z
  .object({
    id: z.string(),
    state: z.enum(["queued", "building", "ready", "failed", "cancelled"]),
    runtime: z.string(),
    command: z.string().nullable(),
    sourceBytes: z.number().describe("Of all files, unpacked"),
    sourceFiles: z.int(),
    lockDigest: z.string().nullable(),
    layers: z.array(z.object({ kind: z.enum(["dependencies", "code"]), sha256: z.string(), bytes: z.number() })),
    artifactBytes: z.number().nullable(),
    durationMs: z.number().nullable(),
    error: failure,
    createdAt: z.number(),
    startedAt: z.number().nullable(),
    endedAt: z.number().nullable(),
  })
  .meta({ id: "Build" });

export const deploymentView = z
  .object({
    workspace: z.string(),
    function: z.string(),
    version: z.int(),
    state: buildView.shape.state.describe("A version saved as files is ready at once"),
    active: z.boolean(),
    activating: z.boolean().describe("It is to become active as soon as it is ready"),
    aliases: z.array(z.string()),
    language: z.string(),
    contract: z.enum(["inline", "handler", "script"]),
    entrypoint: z.string().nullable(),
    settings: functionSettings.describe("Those of this version, which go before the function's"),
    sourceDigest: z.string(),
    origin: z.unknown().describe("Where the source came from"),
    build: buildView.nullable().describe("null: it was saved as files"),
    activationError: failure.describe("Why it could not be made active"),
    createdAt: z.number().describe("ms since 1970"),
  })
  .meta({ id: "Deployment" });

export const reference = z.string().max(128).describe("A version, an alias, `active` or `latest`");
export const ofDeployment = z.object({ workspace: workspaceName, function: functionName, reference });

/** The JSON form of a deployment. */
export function viewOfDeployment(deployment: DeploymentView): z.infer<typeof deploymentView> {
  const { build, aliases, settings, ...rest } = deployment;
  return {
    ...rest,
    aliases: [...aliases],
    settings: settings as z.infer<typeof deploymentView>["settings"],
    build: build === null ? null : { ...build, layers: [...build.layers] },
  };
}
