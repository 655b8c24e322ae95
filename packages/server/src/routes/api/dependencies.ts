import { TreadleError } from "@treadle/errors";
import type { DependencyView, Functions } from "@treadle/functions";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { dependencyView, workspaceName } from "../schemas.ts";
import { type ApiParts, failures, inWorkspace } from "./api-parts.ts";

const ofLanguage = z.object({ workspace: workspaceName, language: z.string().max(64).describe("`node` or `python`") });

/** What workspaces depend on. */
export function dependencyRoutes({ functions }: ApiParts): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      "/api/v1/workspaces/:workspace/dependencies",
      {
        schema: {
          tags: ["dependencies"],
          summary: "What a workspace depends on, by language, with the state and log of the installation",
          params: inWorkspace,
          response: { 200: z.object({ dependencies: z.array(dependencyView) }), ...failures },
        },
      },
      async (request) => ({ dependencies: (await functions.dependencies(request.params.workspace)).map(viewOfDependency) }),
    );

    app.get(
      "/api/v1/workspaces/:workspace/dependencies/:language",
      {
        schema: {
          tags: ["dependencies"],
          summary: "What a workspace depends on in one language",
          params: ofLanguage,
          response: { 200: dependencyView, ...failures },
        },
      },
      async (request) => dependencyOf(functions, request.params.workspace, request.params.language),
    );

    app.put(
      "/api/v1/workspaces/:workspace/dependencies/:language",
      {
        schema: {
          tags: ["dependencies"],
          summary: "Replace what a workspace depends on in one language; installed behind the answer",
          params: ofLanguage,
          body: z.strictObject({
            files: z
              .record(z.string(), z.string())
              .describe(
                "Manifest files by name: `package.json`, `package-lock.json`; `requirements.txt`, `pyproject.toml`, `uv.lock`. None: no dependencies.",
              ),
          }),
          response: { 200: dependencyView, ...failures },
        },
      },
      async (request) => {
        const { workspace, language } = request.params;
        await functions.setDependencies(workspace, language, request.body.files);
        return dependencyOf(functions, workspace, language);
      },
    );
  };
}

async function dependencyOf(functions: Functions, workspace: string, language: string): Promise<z.infer<typeof dependencyView>> {
  const known = functions.runtimes.named(language)?.language ?? language;
  const found = (await functions.dependencies(workspace)).find((each) => each.language === known);
  if (found === undefined && functions.runtimes.named(language) === undefined)
    throw new TreadleError("UNKNOWN_RUNTIME", `${JSON.stringify(language.slice(0, 64))} is not a language of this server.`);
  return found === undefined
    ? { language: known, files: {}, inferred: [], lock: null, status: "none", error: null, log: "", updatedAt: 0 }
    : viewOfDependency(found);
}

function viewOfDependency({
  language,
  manifest,
  inferred,
  lock,
  status,
  error,
  log,
  updatedAt,
}: DependencyView): z.infer<typeof dependencyView> {
  return { language, files: { ...manifest }, inferred: [...inferred], lock, status, error, log, updatedAt };
}
