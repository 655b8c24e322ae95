import { TreadleError } from "@treadle/errors";
import type { NewDeployment } from "@treadle/functions";
import type { FastifyRequest } from "fastify";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { problemOf } from "../problem.ts";
import { dropRest } from "../raw-body.ts";
import { functionSettings } from "../schemas.ts";
import { type ApiParts, failures, ofFunction } from "./api-parts.ts";
import { deploymentView, viewOfDeployment } from "./deployment-view.ts";

/** Content types whose body is the archive itself; what it is its first bytes tell. */
const ARCHIVES = [
  ...["application/gzip", "application/x-gzip", "application/x-tar", "application/x-gtar", "application/x-compressed-tar"],
  ...["application/zip", "application/x-zip-compressed", "application/octet-stream"],
];

const manner = {
  language: z.string().max(64).optional(),
  contract: z.enum(["handler", "script"]).optional(),
  entrypoint: z.string().max(512).optional().describe("The file with the function"),
  command: z.string().max(4_096).optional().describe("Run before the language's own build, by `/bin/sh -c`"),
};
const query = z.object({
  ...manner,
  folder: z.string().max(512).optional().describe("The part of the archive that is the source"),
  settings: z.string().max(65_536).optional().describe("JSON of the version's settings"),
  activate: z.enum(["true", "false"]).optional().describe("Make it active when it is ready; default true"),
});
const body = z
  .strictObject({
    ...manner,
    git: z.strictObject({
      url: z.string().max(2_048).describe("`https://` address of a repository on a host the operator allows"),
      ref: z.string().max(255).optional().describe("Branch, tag or commit; default: the repository's own"),
      folder: z.string().max(512).optional().describe("The part of the repository that is the source"),
    }),
    settings: functionSettings.optional(),
    activate: z.boolean().optional(),
  })
  .nullish();

/** Making a new version of a function out of an archive or a git repository. */
export function deploymentUploadRoute({ functions, allowLongBody }: ApiParts): FastifyPluginAsyncZod {
  return async (app) => {
    app.addContentTypeParser(ARCHIVES, (_request, _payload, done) => done(null));

    app.post(
      "/api/v1/workspaces/:workspace/functions/:function/deployments",
      {
        schema: {
          tags: ["deployments"],
          summary: "Build a new version of a function, and make it active when it is ready",
          description:
            "The body is a tar, tar.gz or zip of the source (`application/gzip`, `application/x-tar`, `application/zip` or `application/octet-stream`), with what is to be said of it in the query; or JSON that names a git repository. What is said nowhere comes from the source's treadle.yaml, else from its files. Workspace and function are made when they are new.",
          params: ofFunction,
          querystring: query,
          body,
          response: { 202: deploymentView, ...failures },
        },
      },
      async (request, reply) => {
        const { workspace, function: name } = request.params;
        functions.checkAccepting();
        const gone = new AbortController();
        request.raw.once("close", () => {
          if (!request.raw.complete)
            gone.abort(new TreadleError("CANCELLED", "The client went away before the whole source had come."));
        });
        try {
          const input = isArchive(request) ? uploaded(request, request.query) : fromGit(request.body);
          if (input.source.kind === "archive") allowLongBody(request);
          return reply.code(202).send(viewOfDeployment(await functions.deployments.create(workspace, name, input, gone.signal)));
        } catch (error) {
          dropRest(request.raw);
          throw gone.signal.aborted ? gone.signal.reason : error;
        }
      },
    );
  };
}

function isArchive(request: FastifyRequest): boolean {
  const type = request.headers["content-type"]?.split(";", 1)[0]?.trim().toLowerCase() ?? "";
  return ARCHIVES.includes(type);
}

/** @throws BAD_REQUEST, UNSUPPORTED_MEDIA_TYPE */
function uploaded(request: FastifyRequest, { folder, settings, activate, ...said }: z.infer<typeof query>): NewDeployment {
  if ((request.headers["content-encoding"] ?? "identity") !== "identity")
    throw new TreadleError("UNSUPPORTED_MEDIA_TYPE", "Send the archive as it is, without Content-Encoding.");
  return {
    ...given(said),
    source: { kind: "archive", stream: request.raw, ...(folder === undefined ? {} : { folder }) },
    ...(settings === undefined ? {} : { settings: settingsOf(settings) }),
    ...(activate === undefined ? {} : { activate: activate === "true" }),
  } as NewDeployment;
}

/** @throws BAD_REQUEST */
function fromGit(sent: z.infer<typeof body>): NewDeployment {
  if (sent === null || sent === undefined)
    throw new TreadleError("BAD_REQUEST", 'Send an archive with its content type, or JSON: {"git": {"url": "https://..."}}.');
  const { git, ...said } = sent;
  return { ...given(said), source: { kind: "git", ...given(git) } } as NewDeployment;
}

/** @throws BAD_REQUEST */
function settingsOf(text: string): z.infer<typeof functionSettings> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new TreadleError("BAD_REQUEST", "settings: must be JSON.");
  }
  const checked = functionSettings.safeParse(value);
  if (checked.success) return checked.data;
  const [issue] = checked.error.issues;
  throw problemOf({
    validation: [{ instancePath: `/settings/${issue?.path.join("/") ?? ""}`, message: issue?.message ?? "is not valid" }],
  });
}

/** Without what was left out. */
function given<T extends object>(said: T): T {
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined)) as T;
}
