import type { Readable } from "node:stream";
import { isTreadleError, TreadleError } from "@treadle/errors";
import {
  checkedLoadReport,
  checkedRuntimeError,
  FrameKind,
  type FrameWriter,
  LOG_LEVELS,
  type LoadReport,
  type LoadRequest,
  LogFlag,
  splitLogFields,
} from "@treadle/runtimes";
import type { SandboxExit } from "@treadle/sandbox";
import type { Execution } from "../executions/execution.ts";
import type { LogEntry } from "../executions/log.ts";
import { ExecutionFiles, type InstanceFiles } from "../files/execution-files.ts";
import { placeArguments } from "../files/place-arguments.ts";
import type { FileParameter } from "../parameters/file-parameters.ts";
import type { Program } from "../program.ts";
import type { FunctionsSettings } from "../settings.ts";
import { Turnstile } from "../turnstile.ts";
import { exitError } from "./exit-error.ts";
import { PiecedBody, PiecedResponse } from "./frame-streams.ts";
import type { FramesOwner, FramesProcess } from "./frames-process.ts";
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
import { checkedFields, maskedFields } from "./log-line.ts";
import type { RuntimeProcess } from "./runtime-process.ts";
import { userError } from "./user-error.ts";

/** Frames a runtime may send for executions that are not open (late ones it could not hold back) before it counts as hostile. */
const STRAY_FRAMES = 50_000;
/** File transfers at work at a time, over all executions. */
const CONCURRENT_TRANSFERS = 8;

/** An instance that is talked to by frames (CHANNEL.md): many calls interleaved on one socket. */
export class FramesInstance implements Instance, FramesOwner {
  readonly process: RuntimeProcess;
  readonly program: Program;
  readonly startedAt = Date.now();
  lastUsedAt = performance.now();
  served = 0;
  /** False once it takes no more calls. */
  open = true;
  /** Errors of single functions found while loading; their calls fail with them. */
  #report: LoadReport | null = null;
  readonly #settings: FunctionsSettings;
  readonly #listener: InstanceListener;
  readonly #inFlight = new InFlight<Execution>();
  readonly #output = new InstanceOutput();
  readonly #writer: FrameWriter;
  /** Made with the first file. */
  #files: InstanceFiles | null = null;
  #strayFrames = 0;
  /** Set while the runtime is asked whether it still answers after a time-out. */
  #blockedTimer: NodeJS.Timeout | undefined;
  #onLoaded: ((report: LoadReport | TreadleError) => void) | null = null;

  constructor(frames: FramesProcess, program: Program, settings: FunctionsSettings, listener: InstanceListener) {
    this.process = frames.process;
    this.#writer = frames.writer;
    this.program = program;
    this.#settings = settings;
    this.#listener = listener;
    this.process.mask = program.mask;
    frames.own(this);
  }

  /** Whether it can take one more call now. While it is asked whether it still answers, calls had better wait. */
  get hasRoom(): boolean {
    return this.open && this.#blockedTimer === undefined && this.#inFlight.size < this.program.concurrency;
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** Lines written natively that belong to no single execution, newest last. */
  get output(): readonly LogEntry[] {
    return this.#output.entries;
  }

  /** Loads the program; once. @throws LOAD_FAILED, CRASHED, OUT_OF_MEMORY when the process does not survive it */
  async load(request: LoadRequest): Promise<LoadReport> {
    const answer = await new Promise<LoadReport | TreadleError>((resolve) => {
      this.#onLoaded = resolve;
      this.#writer.writeText(FrameKind.load, 1, JSON.stringify(request));
      setTimeout(() => resolve(loadTimedOut()), LOAD_TIMEOUT_MS).unref();
    });
    this.#onLoaded = null;
    if (answer instanceof TreadleError) {
      void this.kill("it did not load");
      throw answer;
    }
    this.#report = answer;
    return answer;
  }

  /** Runs an execution; its outcome comes through the execution itself. */
  run(execution: Execution): void {
    const id = this.#inFlight.add(execution);
    execution.channelId = id;
    const { input, target } = execution;
    execution.holder = this;
    if (input.kind === "handler") {
      const { body } = input;
      if (body instanceof Uint8Array) this.#writer.writeHandlerCall(id, target.functionNameBytes, input.head, body);
      else this.#callWithStream(execution, input.head, body);
    } else if (input.kind === "script") this.#writer.writeInlineCall(id, SCRIPT_NAME, `{"data":${input.dataText}}`);
    else if (target.fileParameters === null) this.#writer.writeInlineCall(id, target.functionNameBytes, input.argumentsText);
    else {
      void this.#callWithFiles(execution, input.argumentsText, target.fileParameters);
      return;
    }
    beginTime(execution);
  }

  #callWithStream(execution: Execution, head: string, body: Readable): void {
    const id = execution.channelId;
    this.#writer.writeHandlerCall(id, execution.target.functionNameBytes, head, NO_BYTES);
    execution.body = new PiecedBody(id, this.#writer, body, () => execution.cancel("the rest of its request did not come."));
  }

  /**
   * Has the files in place that the arguments name before user code is called. That is waiting, as for an instance, and has the same limit: the
   * execution's own time begins afterwards.
   */
  async #callWithFiles(execution: Execution, argumentsText: string, parameters: readonly FileParameter[]): Promise<void> {
    const id = execution.channelId;
    const { functionName, functionNameBytes } = execution.target;
    clearTimeout(execution.timer);
    execution.timer = setTimeout(() => {
      const { waitMs } = this.#settings;
      const message = `The files for ${functionName} were not in place within ${waitMs} ms.`;
      this.#endUncalled(execution, new TreadleError("SERVER_BUSY", message, { details: { phase: "queued", limitMs: waitMs } }));
    }, this.#settings.waitMs);
    try {
      const withPaths = await placeArguments(functionName, argumentsText, parameters, this.#filesOf(execution));
      if (this.#inFlight.get(id) !== execution) return;
      this.#writer.writeInlineCall(id, functionNameBytes, withPaths);
      beginTime(execution);
    } catch (error) {
      if (isTreadleError(error)) this.#endUncalled(execution, error);
      else {
        if (execution.outcome === null) this.process.files.owner.warn("files of a call could not be laid out", { err: error });
        this.#endUncalled(
          execution,
          new TreadleError("INTERNAL", "The files of the call could not be laid out.", { cause: error }),
        );
      }
    }
  }

  /** Ends an execution that the runtime has not heard of. */
  #endUncalled(execution: Execution, error: TreadleError): void {
    if (!this.#inFlight.remove(execution.channelId)) return;
    execution.fail(error);
    this.#afterEnd();
  }

  #filesOf(execution: Execution): ExecutionFiles {
    this.#files ??= {
      folder: this.process.files,
      writer: this.#writer,
      turnstile: new Turnstile(CONCURRENT_TRANSFERS),
      pathInside: (target) => this.process.sandbox.pathInside(target),
    };
    execution.files ??= new ExecutionFiles(execution, this.#files);
    return execution.files;
  }

  /** Gives up on one execution: it ends now, and the instance is killed if it does not answer any more. */
  abandon(execution: Execution, error: TreadleError): void {
    if (!this.#inFlight.remove(execution.channelId)) return;
    endStreams(execution);
    execution.fail(error);
    this.#writer.writeEmpty(FrameKind.cancel, execution.channelId);
    this.#writer.flush();
    this.#blockedTimer ??= setTimeout(() => {
      void this.kill("it was blocked by a call that was given up");
    }, CANCEL_GRACE_MS);
    this.#afterEnd();
  }

  resume(execution: Execution): void {
    execution.response?.resume();
  }

  /** Takes no more calls and ends when those in flight have. */
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

  onFrame(kind: number, id: number, bytes: Buffer, start: number, end: number): boolean {
    this.#onFrame(kind, id, bytes, start, end);
    // Bytes of files wait for storage; all else is copied.
    return kind !== FrameKind.file;
  }

  #onFrame(kind: number, id: number, bytes: Buffer, start: number, end: number): void {
    switch (kind) {
      case FrameKind.result: {
        const execution = this.#inFlight.get(id);
        if (execution === undefined) this.#stray();
        else this.#onResult(execution, bytes, start, end);
        return;
      }
      case FrameKind.log:
        this.#onLog(id, bytes, start, end);
        return;
      case FrameKind.file: {
        const execution = this.#inFlight.get(id);
        // Late chunks weigh more than late lines.
        if (execution === undefined) this.#stray(1 + ((end - start) >> 14));
        else {
          const fault = this.#filesOf(execution).onFrame(bytes, start, end);
          if (fault !== null) this.#reject(fault);
        }
        return;
      }
      case FrameKind.head:
      case FrameKind.piece:
      case FrameKind.bodyCredit: {
        const execution = this.#inFlight.get(id);
        if (execution === undefined) this.#stray(1 + ((end - start) >> 14));
        else this.#onStream(kind, execution, bytes, start, end);
        return;
      }
      case FrameKind.error: {
        const execution = this.#inFlight.get(id);
        if (execution === undefined) {
          this.#stray();
          return;
        }
        const error = checkedRuntimeError(parsed(bytes, start, end));
        this.#finish(execution, () => execution.fail(userError(error, execution.target.functionName, this.program.mask)));
        return;
      }
      case FrameKind.cancelled: {
        clearTimeout(this.#blockedTimer);
        this.#blockedTimer = undefined;
        const answer = parsed(bytes, start, end) as { running?: unknown } | null;
        if (answer?.running === true) this.retire("a call that timed out still runs in it");
        else if (this.open) this.#listener.onRoom(this);
        return;
      }
      case FrameKind.loaded:
        this.#onLoaded?.(checkedLoadReport(parsed(bytes, start, end), this.program.functionNames));
        return;
      case FrameKind.pong:
        return;
      default:
        this.#reject("it sent a frame of an unknown kind");
    }
  }

  onOutput(stream: "stdout" | "stderr", line: string, cut: boolean): void {
    const level = stream === "stdout" ? "info" : "error";
    // With one call in flight the line is that call's; with several nobody can tell, and a wrong guess would leak.
    if (this.#inFlight.size === 1) {
      for (const execution of this.#inFlight.all()) execution.log.add(level, Date.now(), line, cut, this.#settings.logBytes);
      return;
    }
    this.#output.add({ level, time: Date.now(), message: line });
  }

  onExit(exit: SandboxExit): void {
    this.open = false;
    clearTimeout(this.#blockedTimer);
    const error = exitError(exit, this.process);
    this.#onLoaded?.(error);
    for (const execution of this.#inFlight.clear()) {
      endStreams(execution);
      execution.fail(error);
    }
    this.#listener.onRetired(this);
  }

  /** The error that calls of this function end with because it did not load, if any. */
  loadErrorOf(functionName: string): TreadleError | null {
    const error = this.#report?.errors[functionName] ?? this.#report?.errors[""];
    return error === undefined ? null : userError(error, functionName, this.program.mask);
  }

  #reject(reason: string): void {
    this.open = false;
    this.process.reject(reason);
  }

  #onStream(kind: number, execution: Execution, bytes: Buffer, start: number, end: number): void {
    const { input, response } = execution;
    if (kind === FrameKind.bodyCredit) {
      const fault = end - start === 4 ? (execution.body?.give(bytes.readUInt32LE(start)) ?? null) : "it sent malformed credit";
      if (fault !== null) this.#reject(fault);
    } else if (kind === FrameKind.head) {
      if (input.kind !== "handler" || response !== null || PiecedResponse.isTooLong(end - start)) {
        this.#reject("it sent the head of a response that nothing asked for");
        return;
      }
      const head = bytes.toString("utf8", start, end);
      const { resultBytes } = this.#settings;
      execution.response = new PiecedResponse(execution.channelId, head, this.#writer, input.sink, resultBytes);
    } else {
      const fault =
        response === null ? "it sent a piece of a response without its head" : response.take(bytes.subarray(start, end));
      if (typeof fault === "string") this.#reject(fault);
      else if (fault !== null) this.abandon(execution, fault);
    }
  }

  #onResult(execution: Execution, bytes: Buffer, start: number, end: number): void {
    const { response } = execution;
    if (response !== null) {
      if (end > start) this.#reject("it sent two responses");
      else this.#finish(execution, () => execution.end(response.outcome()));
      return;
    }
    if (execution.input.kind === "handler") {
      const headBytes = end - start >= 4 ? bytes.readUInt32LE(start) : -1;
      if (headBytes < 0 || start + 4 + headBytes > end) {
        this.#reject("it sent a malformed response");
        return;
      }
      const head = bytes.toString("utf8", start + 4, start + 4 + headBytes);
      const body = Buffer.from(bytes.subarray(start + 4 + headBytes, end));
      this.#finish(execution, () => execution.end({ state: "responded", head, body }));
      return;
    }
    if (end - start > this.#settings.resultBytes) {
      const error = new TreadleError(
        "RESULT_TOO_LARGE",
        `The result is ${end - start} bytes; the limit is ${this.#settings.resultBytes}.`,
      );
      this.#finish(execution, () => execution.fail(error));
      return;
    }
    const result = bytes.toString("utf8", start, end);
    if (!isJson(result)) {
      const error = new TreadleError("INVALID_RESPONSE", "The function's process answered with something that is not JSON.");
      this.#finish(execution, () => execution.fail(error));
      return;
    }
    this.#finish(execution, () => execution.end({ state: "succeeded", result }));
  }

  /**
   * Ends an execution. When it is the only one in flight, one turn of the event loop later: what it wrote natively
   * before its result is then already read and tied to it.
   */
  #finish(execution: Execution, end: () => void): void {
    const id = execution.channelId;
    if (this.#inFlight.size > 1) {
      this.#inFlight.remove(id);
      endStreams(execution);
      end();
      this.#afterEnd();
      return;
    }
    setImmediate(() => {
      if (!this.#inFlight.remove(id)) return;
      endStreams(execution);
      end();
      this.#afterEnd();
    });
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

  #onLog(id: number, bytes: Buffer, start: number, end: number): void {
    if (end - start < 10) {
      this.#reject("it sent a malformed log line");
      return;
    }
    const execution = this.#inFlight.get(id);
    const level = LOG_LEVELS[bytes[start] as number] ?? "info";
    const sent = bytes.readDoubleLE(start + 2);
    const time = Number.isFinite(sent) && sent > 0 && sent < 8.64e15 ? sent : Date.now();
    const { mask } = this.program;
    if (execution === undefined) {
      this.#stray();
      const text = bytes.toString("utf8", start + 10, Math.min(end, start + 10 + 8_000));
      this.#output.add({ level, time, message: mask === null ? text : mask(text) });
      return;
    }
    const flags = bytes[start + 1] as number;
    const sentText = bytes.toString("utf8", start + 10, end);
    const logged = (flags & LogFlag.fields) === 0 ? { text: sentText, fields: null } : splitLogFields(sentText);
    const checked = checkedFields(logged.fields);
    const fields = mask === null || checked === undefined ? checked : maskedFields(checked, mask);
    const message = mask === null ? logged.text : mask(logged.text);
    const cut = message.length > this.#settings.logEntryCharacters + 64;
    const kept = cut ? message.slice(0, this.#settings.logEntryCharacters) : message;
    execution.log.add(level, time, kept, cut || (flags & LogFlag.cut) !== 0, this.#settings.logBytes, fields);
    if (execution.log.dropped > DROPPED_LINES) this.#reject("it floods the channel");
  }

  #stray(weight = 1): void {
    this.#strayFrames += weight;
    if (this.#strayFrames > STRAY_FRAMES) this.#reject("it floods the channel");
  }
}

const NO_BYTES = new Uint8Array();
/** What the function of a script is called. */
const SCRIPT_NAME = Buffer.from("handle");

function endStreams(execution: Execution): void {
  execution.body?.stop();
  execution.body = null;
}

function parsed(bytes: Buffer, start: number, end: number): unknown {
  try {
    return JSON.parse(bytes.toString("utf8", start, end));
  } catch {
    return null;
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
