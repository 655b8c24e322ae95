import { TreadleError } from "@treadle/errors";
import type { FunctionCall } from "@treadle/functions";
import { z } from "zod";

/** What a function is called with, in the form that its contract asks for. */
export const callInput = {
  parameters: z.record(z.string(), z.unknown()).optional().describe("inline: arguments"),
  data: z.record(z.string(), z.unknown()).optional().describe("script: payload, variables, meta, flow"),
  request: z
    .strictObject({
      method: z.string().max(32).default("GET"),
      path: z.string().max(8_192).default("/").describe("Path and query"),
      headers: z.record(z.string(), z.string()).default({}),
      body: z.string().optional(),
      bodyBase64: z.base64().optional(),
    })
    .optional()
    .describe("handler: the HTTP request"),
};
const callInputObject = z.object(callInput);

/** How an asynchronous execution is to be carried out. */
export const asyncOptions = {
  callback: z
    .strictObject({
      url: z.string().max(8_192).describe("Gets the outcome in a POST, signed by Standard Webhooks"),
      key: z.string().max(200).optional().describe("`whsec_...` to sign with, instead of the workspace's own"),
    })
    .optional(),
  retries: z.int().min(0).max(100).optional().describe("How often it is tried again when it fails; default 0"),
  priority: z.int().min(-100).max(100).optional().describe("Higher ones first; default 0"),
  timeoutMs: z.int().min(1).max(86_400_000).optional(),
  idempotencyKey: z.string().min(1).max(255).optional().describe("The same key with the same input means the same execution"),
  delaySeconds: z.number().min(0).max(31_536_000).optional(),
  runAt: z.iso.datetime({ offset: true }).optional().describe("Not before this time"),
};
const asyncOptionsObject = z.object(asyncOptions);

/** @throws BAD_REQUEST when forms are mixed */
export function inputOf({ parameters, data, request }: z.infer<typeof callInputObject>): FunctionCall["input"] {
  if ([parameters, data, request].filter((each) => each !== undefined).length > 1)
    throw new TreadleError("BAD_REQUEST", "Give one of parameters, data and request.");
  if (data !== undefined) return { kind: "script", data };
  if (request === undefined) return { kind: "inline", parameters: parameters ?? {} };
  const { method, path, headers, body, bodyBase64 } = request;
  return {
    kind: "handler",
    request: {
      method: method.toUpperCase(),
      url: path,
      headers,
      body: bodyBase64 === undefined ? Buffer.from(body ?? "") : Buffer.from(bodyBase64, "base64"),
    },
  };
}

/** @throws BAD_REQUEST */
export function optionsOf({ delaySeconds, runAt, callback, ...rest }: z.infer<typeof asyncOptionsObject>) {
  if (delaySeconds !== undefined && runAt !== undefined)
    throw new TreadleError("BAD_REQUEST", "Give delaySeconds or runAt, not both.");
  const dueAt =
    runAt !== undefined ? Date.parse(runAt) : delaySeconds === undefined ? undefined : Date.now() + delaySeconds * 1000;
  const { retries, priority, timeoutMs, idempotencyKey } = rest;
  return {
    ...(retries === undefined ? {} : { retries }),
    ...(priority === undefined ? {} : { priority }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
    ...(dueAt === undefined ? {} : { dueAt }),
    ...(callback === undefined
      ? {}
      : { callback: callback.key === undefined ? { url: callback.url } : { url: callback.url, key: callback.key } }),
  };
}
