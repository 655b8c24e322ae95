import type { Readable } from "node:stream";
import { TreadleError } from "@treadle/errors";
import type { HandlerRequestHead } from "@treadle/runtimes";
import type { CallInput, Execution, ExecutionOptions, ResponseSink } from "./executions/execution.ts";
import type { CallableFunction } from "./loaded-workspace.ts";

/** An HTTP request for a handler function. */
export interface HandlerRequest {
  readonly method: string;
  /** Path and query, or a whole address. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | Readable;
}

/** A call in any of a function's forms. */
export interface FunctionCall extends ExecutionOptions {
  readonly workspace: string;
  /** `name`, `name@3` (a version) or `name@alias`. */
  readonly function: string;
  readonly input:
    | { readonly kind: "inline"; readonly parameters: Readonly<Record<string, unknown>> }
    | { readonly kind: "handler"; readonly request: HandlerRequest; readonly sink?: ResponseSink }
    | { readonly kind: "script"; readonly data: Readonly<Record<string, unknown>> };
  /** The caller keeps the record: it is not written behind the call. */
  readonly recordedByCaller?: boolean;
  /** Hears of the execution as soon as there is one: it can be cancelled and its log be followed. */
  readonly onStart?: (execution: Execution) => void;
}

/** What is sent to an instance for a call. @throws BAD_REQUEST when the function is called otherwise; INVALID_PARAMETERS */
export function inputFor(target: CallableFunction, input: FunctionCall["input"]): CallInput {
  if (target.contract !== input.kind) {
    const how = { inline: "parameters", handler: "an HTTP request", script: "data" };
    throw new TreadleError(
      "BAD_REQUEST",
      `${target.functionName} has the contract ${target.contract}: it is called with ${how[target.contract]}, not with ${how[input.kind]}.`,
    );
  }
  switch (input.kind) {
    case "inline":
      target.check.check(input.parameters);
      return { kind: "inline", argumentsText: jsonText(target.functionName, input.parameters) };
    case "script":
      return { kind: "script", dataText: jsonText(target.functionName, input.data) };
    case "handler": {
      const { method, url, headers, body } = input.request;
      const isWhole = body instanceof Uint8Array;
      const head: HandlerRequestHead = {
        ...{ method, url, headers, timeoutSeconds: Math.ceil(target.timeoutMs / 1000), logging: true },
        ...(isWhole ? {} : { bodyFollows: true }),
      };
      return { kind: "handler", request: head, head: JSON.stringify(head), body, sink: input.sink ?? null };
    }
  }
}

/** Arguments that could be read are nested too deep to be written when the stack is full: reading needs none of it. @throws BAD_REQUEST */
export function jsonText(name: string, input: Readonly<Record<string, unknown>>): string {
  try {
    return JSON.stringify(input);
  } catch (error) {
    throw new TreadleError("BAD_REQUEST", `The arguments of ${name} are nested too deep.`, { cause: error });
  }
}
