import type { IncomingMessage, ServerResponse } from "node:http";
import { TreadleError } from "@treadle/errors";
import type { Execution, ResponseSink } from "@treadle/functions";
import { problemOf } from "../problem.ts";
import { type CheckedHead, checkedHead } from "./response-head.ts";

/** What becomes of a failure that is the user code's own: the contract of handlers asks for an empty body; the execution has the reason. */
const STATUS_OF_USER_FAILURE: Readonly<Record<string, number>> = {
  THREW: 500,
  SYNTAX_ERROR: 503,
  IMPORT_DENIED: 503,
  MODULE_NOT_FOUND: 503,
  LOAD_FAILED: 503,
};

/** Writes what a function answers to its caller, as fast as the caller takes it. */
export class FunctionResponse implements ResponseSink {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #onDefect: (error: unknown) => void;
  #execution: Execution | null = null;
  /** Set when the head has been written and pieces follow. */
  #streamed: CheckedHead | null = null;
  /** What is wrong with what came: nothing more of it is answered. */
  #fault: TreadleError | null = null;
  #bytes = 0;

  constructor(request: IncomingMessage, response: ServerResponse, onDefect: (error: unknown) => void) {
    this.#request = request;
    this.#response = response;
    this.#onDefect = onDefect;
  }

  /** Ends the execution when the caller goes away. */
  follow(execution: Execution): void {
    this.#execution = execution;
    if (execution.outcome === null) this.#response.once("close", () => execution.cancel("the caller went away."));
  }

  begin(text: string): void {
    const head = checkedHead(text);
    if (typeof head === "string") {
      this.#refuse(head);
      return;
    }
    this.#streamed = head;
    const length = head.length !== null && head.hasBody ? ["content-length", String(head.length)] : [];
    this.#response.writeHead(head.status, [...head.headers, ...length, ...this.#own()]);
    // A function that streams may have nothing to say for long.
    this.#response.flushHeaders();
    this.#response.on("drain", () => this.#execution?.resume());
  }

  write(piece: Buffer, release?: () => void): boolean {
    const head = this.#streamed;
    if (head === null || this.#response.destroyed) return true;
    this.#bytes += piece.length;
    if (head.length !== null && this.#bytes > head.length) {
      this.#refuse("its body is longer than its content-length");
      return true;
    }
    return this.#response.write(piece, release);
  }

  /** The execution has ended. */
  end(execution: Execution): void {
    this.#execution = execution;
    const { outcome } = execution;
    const response = this.#response;
    if (response.destroyed || outcome === null) return;
    try {
      if (this.#streamed !== null) {
        const { length, hasBody } = this.#streamed;
        const isWhole = length === null || length === this.#bytes || !hasBody || this.#request.method === "HEAD";
        // A response that broke off must not look like one that is whole.
        if (outcome.state === "responded" && this.#fault === null && isWhole) response.end();
        else response.destroy();
      } else if (outcome.state === "responded" && this.#fault === null) this.#answer(outcome.head, outcome.body ?? NO_BYTES);
      else this.#fail(this.#fault ?? ("error" in outcome ? outcome.error : new TypeError("not the end of a handler's call")));
    } catch (error) {
      this.#fail(error);
    }
  }

  #answer(text: string, body: Uint8Array): void {
    const head = checkedHead(text);
    if (typeof head === "string") {
      this.#fail(invalid(head));
      return;
    }
    // The body of a HEAD request's answer is not there; its length may be told.
    const length = this.#request.method === "HEAD" && body.length === 0 ? (head.length ?? 0) : body.length;
    if (head.hasBody) head.headers.push("content-length", String(length));
    head.headers.push(...this.#own());
    this.#response.writeHead(head.status, head.headers);
    this.#response.end(head.hasBody ? body : undefined);
  }

  #refuse(why: string): void {
    this.#fault = invalid(why);
    this.#execution?.abandon(this.#fault);
  }

  #fail(error: unknown): void {
    const response = this.#response;
    if (response.headersSent) {
      response.destroy();
      return;
    }
    const problem = problemOf(error);
    if (problem.code === "INTERNAL") this.#onDefect(error);
    const status = STATUS_OF_USER_FAILURE[problem.code];
    const body = status === undefined ? JSON.stringify(problem) : "";
    const type = status === undefined ? ["content-type", "application/json; charset=utf-8"] : [];
    response.writeHead(status ?? problem.status, [...type, "content-length", String(Buffer.byteLength(body)), ...this.#own()]);
    response.end(body);
  }

  #own(): string[] {
    return this.#execution === null ? [] : ["x-treadle-execution", this.#execution.id];
  }
}

const NO_BYTES = new Uint8Array();

function invalid(why: string): TreadleError {
  return new TreadleError("INVALID_RESPONSE", `The function's response cannot be passed on: ${why}.`);
}
