import { ERROR_CATALOGUE } from "@treadle/errors";
import { SETTING_RANGES } from "@treadle/functions";
import { z } from "zod";

const codes = Object.keys(ERROR_CATALOGUE) as [keyof typeof ERROR_CATALOGUE, ...(keyof typeof ERROR_CATALOGUE)[]];

/** JSON forms of the API. Each with an id becomes a named schema of /openapi.json. */
export const errorBody = z
  .object({
    error: z.object({
      code: z.enum(codes).describe("Stable code; docs/reference/errors.md explains each."),
      message: z.string().describe("What happened."),
      help: z.string().describe("What to do."),
      docs: z.string(),
      details: z.unknown().optional(),
    }),
  })
  .meta({ id: "Error" });

export const logEntry = z
  .object({
    level: z.enum(["debug", "info", "warn", "error"]),
    time: z.number().describe("ms since 1970"),
    message: z.string(),
    fields: z.unknown().optional().describe("What was logged beside the message"),
    code: z.literal("LOG_TRUNCATED").optional(),
  })
  .meta({ id: "LogEntry" });

export const parameters = z
  .record(z.string(), z.unknown())
  .describe('The `properties` part of a JSON Schema. A required parameter says `"required": true` itself.');

const inRange = (name: keyof typeof SETTING_RANGES) => {
  const [least, most] = SETTING_RANGES[name];
  return (name === "cpus" ? z.number() : z.int()).min(least).max(most).optional();
};

export const functionSettings = z
  .strictObject({
    timeoutMs: inRange("timeoutMs").describe("Time limit of a call that is waited for"),
    asyncTimeoutMs: inRange("asyncTimeoutMs").describe("Time limit of an async or scheduled execution"),
    memoryBytes: inRange("memoryBytes").describe("Of an instance, with everything in it"),
    cpus: inRange("cpus").describe("Cores an instance may use"),
    processes: inRange("processes").describe("Processes and threads of an instance"),
    scratchBytes: inRange("scratchBytes").describe("An instance's /tmp; it counts to its memory"),
    requestBytes: inRange("requestBytes").describe("Longest body of a request"),
    concurrency: inRange("concurrency").describe("Calls one instance works on at a time"),
    maxInstances: inRange("maxInstances").describe("Instances a handler may scale out to"),
    concurrencyLimit: z
      .strictObject({ max: z.int().min(1).max(1_000_000), whenFull: z.enum(["queue", "reject"]).optional() })
      .optional()
      .describe("Executions it may have at a time; more wait (default) or are refused"),
    egress: z
      .array(z.string().min(1).max(253))
      .max(100)
      .optional()
      .describe('Hosts the function may reach, `*.suffix` patterns too; `["*"]`: any public host.'),
    public: z.boolean().optional().describe("Whether `/f/...` calls it without the server's key"),
    secrets: z
      .array(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/))
      .max(200)
      .optional()
      .describe("Names of the workspace's secrets it gets"),
  })
  .meta({ id: "FunctionSettings" });

export const sourceFile = z
  .strictObject({
    path: z.string(),
    text: z.string().optional(),
    base64: z.base64().optional(),
  })
  .refine((file) => (file.text === undefined) !== (file.base64 === undefined), 'give either "text" or "base64"')
  .meta({ id: "SourceFile" });

export const functionInput = z
  .strictObject({
    language: z.string().max(64).optional().describe("`node` (default), `python`, or a full runtime name."),
    contract: z.enum(["inline", "handler", "script"]).optional(),
    code: z.string().optional().describe("inline: the function's body; parameters are variables in scope."),
    files: z.array(sourceFile).max(10_000).optional().describe("handler: its source files."),
    entrypoint: z.string().max(512).optional().describe("handler: the file that exports the function."),
    parameters: parameters.nullable().optional(),
    settings: functionSettings.optional(),
  })
  .meta({ id: "FunctionSource" });

export const functionView = z
  .object({
    name: z.string(),
    language: z.string(),
    contract: z.enum(["inline", "handler", "script"]),
    code: z.string().optional(),
    files: z.array(sourceFile).optional(),
    entrypoint: z.string().nullable(),
    parameters: parameters.nullable(),
    settings: functionSettings,
    deploymentSettings: functionSettings.optional().describe("Those of its active version, which go before `settings`"),
    buildId: z.string().optional().describe("The build its active version is of"),
    version: z.int(),
    sourceDigest: z.string(),
    createdAt: z.number(),
    updatedAt: z.number(),
  })
  .meta({ id: "Function" });

export const workspaceView = z
  .object({
    name: z.string(),
    revision: z.int(),
    createdAt: z.number(),
    updatedAt: z.number(),
    functions: z.array(functionView),
    undeployed: z.array(z.string()).optional().describe("Functions without an active version"),
  })
  .meta({ id: "Workspace" });

export const executionView = z
  .object({
    id: z.string(),
    workspace: z.string(),
    function: z.string(),
    version: z.int(),
    language: z.string(),
    trigger: z.string(),
    state: z.enum(["queued", "running", "succeeded", "failed", "timed_out", "cancelled"]),
    startedAt: z.number().describe("ms since 1970"),
    queuedMs: z.number(),
    durationMs: z.number(),
    input: z.string().nullable().describe("JSON text, cut to the record limit"),
    output: z.string().nullable().describe("JSON text, cut to the record limit"),
    error: z.unknown().nullable(),
    logs: z.array(logEntry),
    attempts: z
      .array(z.object({ attempt: z.int(), endedAt: z.number(), code: z.string(), message: z.string() }))
      .optional()
      .describe("Attempts that failed before the last one; absent: there were none"),
    callback: z
      .object({
        url: z.string(),
        state: z.enum(["pending", "delivered", "failed"]),
        attempts: z.int(),
        status: z.int().nullable().describe("Of the last attempt's answer"),
        problem: z.string().nullable(),
        nextAt: z.number().nullable(),
        endedAt: z.number().nullable(),
      })
      .optional()
      .describe("How the telling of the outcome goes; in the execution itself, not in lists"),
  })
  .meta({ id: "Execution" });

export const workspaceName = z.string().describe("Name of a workspace");
export const functionName = z.string().describe("Name of a function");

export const dependencyView = z
  .object({
    language: z.string(),
    files: z.record(z.string(), z.string()).describe("Manifest files by name"),
    inferred: z.array(z.string()).describe("Packages added because the code imports them"),
    lock: z.string().nullable().describe("What exactly is installed"),
    status: z.enum(["none", "resolving", "installing", "ready", "failed"]),
    error: z.unknown().nullable(),
    log: z.string().describe("End of the installer's output"),
    updatedAt: z.number(),
  })
  .meta({ id: "Dependencies" });
