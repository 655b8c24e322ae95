import { TreadleError } from "@treadle/errors";
import { checkedLoadReport, type HandlerRequestHead, type LoadReport, type LogLevel } from "@treadle/runtimes";
import type { SandboxExit } from "@treadle/sandbox";
import type { Dispatcher } from "undici";
import type { Execution } from "../executions/execution.ts";
import type { LogEntry } from "../executions/log.ts";
import type { Program } from "../program.ts";
import type { FunctionsSettings } from "../settings.ts";
import { exitError } from "./exit-error.ts";
import { type HttpAnswer, HttpCall, type HttpCallOwner, isFailureStatus } from "./http-call.ts";
import { HttpConnections } from "./http-connections.ts";
import { brokenError, brokenLoadError, loadError, scriptOutcome, thrownError } from "./http-outcome.ts";
import { InFlight } from "./in-flight.ts";
import {
  beginTime,
  CANCEL_GRACE_MS,
  DROPPED_LINES,
  type Instance,
  type InstanceListener,
  InstanceOutput,
  LOAD_TIMEOUT_MS,
  loadTimedOut,
} from "./instance.ts";
import { maskedFields, readLogLine } from "./log-line.ts";
import type { ProcessOwner, RuntimeProcess } from "./runtime-process.ts";
import { userError } from "./user-error.ts";

export const READY_LINE = "HTTP server successfully started!";
/** Compilers that run at start, and machines that are busy, take their time. */
const READY_TIMEOUT_MS = 30_000;
/** A connection that broke may be the first sign that the process is ending: its exit then tells why. */
const EXIT_GRACE_MS = 500;

/** An instance that is talked to by HTTP (HTTP.md) on a unix socket in its sandbox. */
export class HttpInstance implements Instance, ProcessOwner, HttpCallOwner {
  readonly process: RuntimeProcess;
  readonly program: Program;
  readonly startedAt = Date.now();
  lastUsedAt = performance.now();
  served = 0;
  open = true;
  readonly #secret: string;
  readonly #settings: FunctionsSettings;
  readonly #listener: InstanceListener;
  readonly #connections: HttpConnections;
  readonly #inFlight = new InFlight<HttpCall>();
  readonly #output = new InstanceOutput();
  #onReady: (() => void) | null = null;
  /** Set while user code is loaded: what ends that early. */
  #onLoadBroken: ((error: TreadleError) => void) | null = null;
  #report: LoadReport | null = null;
  /** Set while the server is asked whether it still answers after a call was given up. */
  #blockedTimer: NodeJS.Timeout | undefined;

  constructor(
    process: RuntimeProcess,
    program: Program,
    how: {
      readonly secret: string;
      readonly socket: string;
      readonly settings: FunctionsSettings;
      readonly listener: InstanceListener;
    },
  ) {
    this.process = process;
    this.program = program;
    this.#secret = how.secret;
    this.#settings = how.settings;
    this.#listener = how.listener;
    this.#connections = new HttpConnections(process.sandbox, how.socket);
    process.mask = program.mask;
    process.own(this);
  }

  /** Resolves when the server takes connections. User code is loaded behind that. @throws SANDBOX_UNAVAILABLE */
  async untilReady(): Promise<void> {
    const ready = new Promise<void>((resolve) => {
      this.#onReady = resolve;
    });
    await this.process.whenReady(ready, READY_TIMEOUT_MS);
    this.#onReady = null;
  }

  /**
   * Waits until the server, once it is ready, has loaded user code; once.
   * @throws LOAD_FAILED when that takes too long; CRASHED, OUT_OF_MEMORY when the process does not survive it
   */
  async load(): Promise<LoadReport> {
    let timer: NodeJS.Timeout | undefined;
    try {
      const failure = await new Promise<string | null>((resolve, reject) => {
        this.#onLoadBroken = reject;
        timer = setTimeout(() => reject(loadTimedOut()), LOAD_TIMEOUT_MS);
        this.#connections.loadFailure(this.#secret).then(resolve, (error: Error) => {
          setTimeout(() => reject(brokenLoadError(error)), EXIT_GRACE_MS);
        });
      });
      const { mask, functionNames } = this.program;
      // Masked before it is cut: half a secret would not be known as one.
      const message = failure === null || mask === null ? failure : mask(failure);
      this.#report = checkedLoadReport(
        message === null ? {} : { errors: { "": { code: "LOAD_FAILED", message } } },
        functionNames,
      );
      return this.#report;
    } catch (error) {
      void this.kill("it did not load");
      throw error;
    } finally {
      clearTimeout(timer);
      this.#onLoadBroken = null;
    }
  }

  get hasRoom(): boolean {
    return this.open && this.#blockedTimer === undefined && this.#inFlight.size < this.program.concurrency;
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  get output(): readonly LogEntry[] {
    return this.#output.entries;
  }

  loadErrorOf(functionName: string): TreadleError | null {
    const error = this.#report?.errors[""];
    return error === undefined ? null : userError(error, functionName, this.program.mask);
  }

  run(execution: Execution): void {
    const call = new HttpCall(execution, this, this.#settings.resultBytes);
    call.place(this.#inFlight.add(call));
    execution.channelId = call.channelId;
    execution.holder = this;
    beginTime(execution);
    try {
      this.#connections.dispatch(this.#requestOf(execution, call.logId), call);
    } catch (error) {
      // Undici refuses what cannot be written as HTTP.
      const message = `The request cannot be sent to ${execution.target.functionName}: ${(error as Error).message}.`;
      this.#end(call, () => execution.fail(new TreadleError("BAD_REQUEST", message, { cause: error })));
    }
  }

  abandon(execution: Execution, error: TreadleError): void {
    const call = this.#inFlight.get(execution.channelId);
    if (call === undefined || call.execution !== execution) return;
    this.#inFlight.remove(call.channelId);
    execution.fail(error);
    call.abort();
    this.#ask(error.code === "TIMED_OUT");
    this.#afterEnd();
  }

  resume(execution: Execution): void {
    this.#inFlight.get(execution.channelId)?.resume();
  }

  retire(reason: string): void {
    if (this.open) {
      this.open = false;
      this.#listener.onRetired(this);
    }
    if (this.#inFlight.size === 0) void this.kill(reason);
  }

  async kill(reason: string): Promise<void> {
    this.open = false;
    await this.process.kill(reason);
  }

  onAnswer(call: HttpCall, answer: HttpAnswer): void {
    // What it logged before its answer is written by now; reading it takes a turn.
    void this.process.outputSettled().then(() => this.#finish(call, answer));
  }

  onBroken(call: HttpCall, error: Error): void {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTSOCK" || code === "ECONNREFUSED")
      this.#reject("nothing answers at its socket any more");
    else if (isNoHttp(error)) this.retire("it answered with something that is no HTTP");
    const timer = setTimeout(async () => {
      await this.process.outputSettled();
      const { functionName } = call.execution.target;
      this.#end(call, () => call.execution.fail(brokenError(functionName, error, call.lastError)));
    }, EXIT_GRACE_MS);
    void this.process.sandbox.exited.then(() => clearTimeout(timer));
  }

  onRefused(call: HttpCall, error: TreadleError): void {
    this.abandon(call.execution, error);
  }

  onOutput(stream: "stdout" | "stderr", line: string, cut: boolean): void {
    if (stream === "stdout") {
      if (this.#onReady !== null && line === READY_LINE) {
        this.#onReady();
        return;
      }
      const read = readLogLine(line);
      if (read !== null) {
        const call = read.id === null ? null : this.#callOf(read.id);
        const { mask } = this.program;
        // Texts are masked as they were meant: in JSON a secret may be written otherwise.
        const text = mask === null ? read.text : mask(read.text);
        const fields = mask === null || read.fields === undefined ? read.fields : maskedFields(read.fields, mask);
        this.#log(call, read.level, read.time ?? Date.now(), text, fields, read.id === null);
        return;
      }
    }
    const text = cut || line.length > PRINTED_CHARACTERS ? line.slice(0, PRINTED_CHARACTERS) : line;
    this.#log(null, stream === "stdout" ? "info" : "error", Date.now(), text, undefined, true, cut || text !== line);
  }

  onExit(exit: SandboxExit): void {
    this.open = false;
    clearTimeout(this.#blockedTimer);
    const error = exitError(exit, this.process);
    this.#onLoadBroken?.(error);
    for (const call of this.#inFlight.clear()) {
      call.execution.fail(error);
      call.abort();
    }
    void this.#connections.destroy();
    this.#listener.onRetired(this);
  }

  #requestOf({ input, target }: Execution, logId: string): Dispatcher.DispatchOptions {
    const own = ["x-open-runtimes-secret", this.#secret, "x-open-runtimes-log-id", logId];
    if (input.kind === "handler") {
      const { method, url, headers } = input.request;
      const body = input.body instanceof Uint8Array && input.body.length === 0 ? null : input.body;
      return { method, path: pathOf(url), headers: [...pairs(headers, body), ...own], body };
    }
    if (input.kind === "script") {
      const headers = ["host", "function", "content-type", "application/json", ...own];
      return { method: "POST", path: "/", headers, body: input.dataText };
    }
    throw new TypeError(`${target.functionName} is no function of this instance`);
  }

  #callOf(logId: string): HttpCall | null {
    const call = this.#inFlight.get(HttpCall.placeOf(logId));
    return call !== undefined && call.logId === logId ? call : null;
  }

  /** `isOfOne`: with one call in flight the line is that call's; with several nobody can tell, and a wrong guess would leak. */
  #log(
    named: HttpCall | null,
    level: LogLevel,
    time: number,
    text: string,
    fields: unknown,
    isOfOne: boolean,
    wasCut = false,
  ): void {
    const call = named ?? (isOfOne && this.#inFlight.size === 1 ? (this.#inFlight.all()[0] ?? null) : null);
    const { logEntryCharacters, logBytes } = this.#settings;
    // A runtime's own note that it cut the entry comes on top.
    const isLong = text.length > logEntryCharacters + 64;
    const message = isLong ? text.slice(0, logEntryCharacters) : text;
    const cut = isLong || wasCut || text.endsWith(CUT_NOTE);
    if (call === null) {
      this.#output.add({ level, time, message });
      return;
    }
    if (level === "error") call.noteError(text);
    call.execution.log.add(level, time, message, cut, logBytes, fields);
    if (call.execution.log.dropped > DROPPED_LINES) this.#reject("it floods its log");
  }

  #finish(call: HttpCall, { status, head, body }: HttpAnswer): void {
    const { execution, lastError } = call;
    const { functionName } = execution.target;
    this.#end(call, () => {
      if (execution.input.kind === "script") {
        const outcome = scriptOutcome(status, body ?? NO_BYTES);
        if ("thrown" in outcome) execution.fail(thrownError(functionName, lastError, outcome.thrown));
        else if ("fault" in outcome)
          execution.fail(isFailureStatus(status) && lastError !== "" ? loadError(functionName, lastError) : outcome.fault);
        else execution.end({ state: "succeeded", result: outcome.result });
      } else if (isFailureStatus(status) && body !== null && body.length === 0 && lastError !== "")
        execution.fail(status === 503 ? loadError(functionName, lastError) : thrownError(functionName, lastError));
      else execution.end({ state: "responded", head, body });
    });
  }

  #end(call: HttpCall, end: () => void): void {
    if (!this.#inFlight.remove(call.channelId)) return;
    end();
    this.#afterEnd();
  }

  #afterEnd(): void {
    this.served += 1;
    this.lastUsedAt = performance.now();
    if (!this.open) {
      if (this.#inFlight.size === 0) void this.kill("retired");
      return;
    }
    this.#listener.onRoom(this);
  }

  /**
   * Asks whether the server still answers; if not it is killed. HTTP does not tell whether the code that was given up still runs: after a time-out the
   * instance takes no more calls, so that code that never ends goes away with it, and the pool starts another at once.
   */
  #ask(isLast: boolean): void {
    if (this.#blockedTimer === undefined) {
      const timer = setTimeout(() => void this.kill("it was blocked by a call that was given up"), CANCEL_GRACE_MS);
      this.#blockedTimer = timer;
      void this.#connections.isHealthy().then((healthy) => {
        if (!healthy || this.#blockedTimer !== timer) return;
        clearTimeout(timer);
        this.#blockedTimer = undefined;
        if (this.open) this.#listener.onRoom(this);
      });
    }
    if (isLast && this.open) {
      this.open = false;
      this.#listener.onRetired(this, true);
    }
  }

  #reject(reason: string): void {
    this.open = false;
    this.process.reject(reason);
  }
}

/** No runtime server of ours sends such a thing: code in it has got hold of its connections. */
function isNoHttp(error: Error): boolean {
  const { code = "" } = error as NodeJS.ErrnoException;
  return code.startsWith("HPE_") || error.name === "HTTPParserError" || code === "UND_ERR_HEADERS_OVERFLOW";
}

const NO_BYTES = Buffer.alloc(0);
/** What is printed past the server is cut at this. */
const PRINTED_CHARACTERS = 8_000;
const CUT_NOTE = "... Log truncated due to size limit (8000 characters)";
/** Between two programs, not part of a message; and what only the host says to a runtime server. */
const NOT_PASSED_ON =
  /^(?:connection|keep-alive|proxy-connection|proxy-authenticate|proxy-authorization|te|trailer|transfer-encoding|upgrade|expect|x-open-runtimes-.*)$/;

function pairs(headers: HandlerRequestHead["headers"], body: unknown): string[] {
  const all: string[] = [];
  for (const name of Object.keys(headers)) {
    const lower = name.toLowerCase();
    if (NOT_PASSED_ON.test(lower)) continue;
    // Undici counts whole bodies itself; a length that nothing follows would wait for it.
    if (lower === "content-length" && (body === null || body instanceof Uint8Array)) continue;
    all.push(lower, headers[name] as string);
  }
  return all;
}

/** Path and query of an address, which may be a whole one. */
function pathOf(url: string): string {
  const at = url.startsWith("/") ? url : url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, "");
  const path = at.split("#", 1)[0] ?? "";
  return path.startsWith("/") ? path : `/${path}`;
}
