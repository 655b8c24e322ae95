import { randomUUID } from "node:crypto";
import { TreadleError } from "@treadle/errors";
import type { Dispatcher } from "undici";
import type { Execution, ResponseSink } from "../executions/execution.ts";

/** Longer responses, and those of unknown length, go to their sink as they come. */
const WHOLE_BYTES = 64 * 1024;
const KEPT_ERROR_CHARACTERS = 16 * 1024;

/** What a call has come to, as far as HTTP tells. */
export interface HttpAnswer {
  readonly status: number;
  /** JSON of a HandlerResponseHead, unchecked. */
  readonly head: string;
  /** Null: head and body have gone to the sink. */
  readonly body: Buffer | null;
}

/** What an instance does with the end of a call. */
export interface HttpCallOwner {
  onAnswer(call: HttpCall, answer: HttpAnswer): void;
  /** Nothing more will come of it. */
  onBroken(call: HttpCall, error: Error): void;
  /** It is ended by us. */
  onRefused(call: HttpCall, error: TreadleError): void;
}

/** One request to a runtime server and its response. */
export class HttpCall implements Dispatcher.DispatchHandler {
  readonly execution: Execution;
  /** Its number among the calls in flight. */
  channelId = 0;
  /** What its log lines carry; nobody outside of the instance can guess it. */
  logId = "";
  /** What was logged last at the level of errors: what a failure is explained by. */
  lastError = "";
  /** Set when nobody waits for it any more. */
  #over = false;
  readonly #owner: HttpCallOwner;
  readonly #sink: ResponseSink | null;
  readonly #limitBytes: number;
  #controller: Dispatcher.DispatchController | null = null;
  #status = 0;
  #head = "";
  #streaming = false;
  #pieces: Buffer[] = [];
  #bytes = 0;

  constructor(execution: Execution, owner: HttpCallOwner, limitBytes: number) {
    this.execution = execution;
    this.#owner = owner;
    this.#sink = execution.input.kind === "handler" ? execution.input.sink : null;
    this.#limitBytes = limitBytes;
  }

  /** Takes its place among those in flight. */
  place(channelId: number): void {
    this.channelId = channelId;
    this.logId = `${channelId.toString(36)}-${randomUUID()}`;
  }

  /** The place that a log id names. */
  static placeOf(logId: string): number {
    return Number.parseInt(logId.slice(0, logId.indexOf("-")), 36);
  }

  noteError(text: string): void {
    this.lastError = text.slice(0, KEPT_ERROR_CHARACTERS);
  }

  resume(): void {
    this.#controller?.resume();
  }

  /** Gives the request up; the server sees its connection closed. */
  abort(): void {
    this.#over = true;
    this.#controller?.abort(new Error("given up"));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#over) controller.abort(new Error("given up"));
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (this.#over || status < 200) return;
    const headers = pairsOf(controller.rawHeaders as readonly (Buffer | string)[]);
    this.#status = status;
    this.#head = JSON.stringify({ statusCode: status, headers });
    const length = headers.find(([name]) => name === "content-length")?.[1];
    const isLong = length === undefined ? !isFailureStatus(status) : Number(length) > WHOLE_BYTES;
    const { input } = this.execution;
    const hasBody = input.kind === "handler" && input.request.method !== "HEAD" && status !== 204 && status !== 304;
    if (isLong && hasBody) this.#stream();
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#over) return;
    if (this.#streaming) {
      if (this.#sink?.write(chunk) === false) controller.pause();
      return;
    }
    this.#pieces.push(chunk);
    this.#bytes += chunk.length;
    if (this.#sink !== null && this.#bytes > WHOLE_BYTES) {
      if (!this.#stream()) controller.pause();
    } else if (this.#bytes > this.#limitBytes) {
      const details = { limitBytes: this.#limitBytes };
      const message = `The response body is longer than ${this.#limitBytes} bytes, the limit of results.`;
      this.#owner.onRefused(this, new TreadleError("RESULT_TOO_LARGE", message, { details }));
    }
  }

  onResponseEnd(): void {
    if (this.#over) return;
    const body = this.#streaming ? null : this.#pieces.length === 1 ? (this.#pieces[0] as Buffer) : Buffer.concat(this.#pieces);
    this.#owner.onAnswer(this, { status: this.#status, head: this.#head, body });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (!this.#over) this.#owner.onBroken(this, error);
  }

  /** From here on what comes goes to the sink, where there is one. False: it is full. */
  #stream(): boolean {
    if (this.#sink === null) return true;
    this.#streaming = true;
    this.#sink.begin(this.#head);
    let takesMore = true;
    for (const piece of this.#pieces.splice(0)) takesMore = this.#sink.write(piece);
    return takesMore;
  }
}

/** The statuses by which a server says that user code threw, or did not load. */
export function isFailureStatus(status: number): boolean {
  return status === 500 || status === 503;
}

/** Pairs of raw headers, names in lower case, without those that are between the server and us. */
function pairsOf(raw: readonly (Buffer | string)[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = textOf(raw[at]).toLowerCase();
    if (!name.startsWith("x-open-runtimes-")) pairs.push([name, textOf(raw[at + 1])]);
  }
  return pairs;
}

function textOf(value: Buffer | string | undefined): string {
  return typeof value === "string" ? value : (value?.toString("latin1") ?? "");
}
