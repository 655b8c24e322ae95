// The server of CHANNEL.md for Deno and Bun, the other front beside serve.js: calls come as frames on a socket that the process was started with.
// `platform` is the one of serve.js, with `runtime`, `version`, `receive` and `send` (channel.js), and `exit(code)`.

import { flush, openChannel, readU32, sendBytes, sendHeadAndBody, sendLog, sendNumber, sendText, text } from "./channel.js";
import { callHandler, load, runScript } from "./contracts.js";
import { Execution, storage } from "./executions.js";
import { IncomingBody } from "./incoming-body.js";
import { append, capture, cut, endLines } from "./logs.js";
import { pieceOf } from "./response.js";
import { readSettings } from "./settings.js";
import { describe, errorOf, LoadFailure } from "./thrown.js";

const LOAD = 0x01;
const CALL = 0x02;
const CANCEL = 0x03;
const PING = 0x04;
const FILE_ANSWER = 0x05;
const BODY = 0x06;
const BODY_END = 0x07;
const CREDIT = 0x08;
const READY = 0x81;
const LOADED = 0x82;
const RESULT = 0x83;
const ERROR = 0x84;
const PONG = 0x86;
const CANCELLED = 0x87;
const HEAD = 0x89;
const PIECE = 0x8a;
const BODY_CREDIT = 0x8b;
/** PIECE frames that may be sent before the host gives credit. */
const WINDOW = 4;
const MAX_PIECE_BYTES = 256 * 1024;
/** Longest JSON of an entry's fields that the host takes. */
const MAX_FIELDS = 16 * 1024;
const FIELDS_SEPARATOR = "\u001e";
const LEVELS = { debug: 0, info: 1, warn: 2, error: 3 };
const CUT = 1;
const FIELDS = 2;

const { parse, stringify } = JSON;
const dateNow = Date.now;

/** Serves until the host is gone. Gives `{ print(level, bytes), lateThrow(kind, error) }`. */
export function serveFrames(platform, defaultEntrypoint) {
  /** Executions that have not ended, by id. */
  const running = new Map();
  let limits = { resultBytes: 8 * 1024 * 1024, logBytes: 1024 * 1024, logEntryCharacters: 8000 };
  let settings = null;
  /** The user's function, or why there is none. */
  let loaded = { target: null, streamsBody: false, error: { code: "LOAD_FAILED", message: "Nothing is loaded yet." } };
  let isLoading = false;

  const end = (execution) => {
    endLines(execution);
    execution.ended = true;
    running.delete(execution.id);
    wake(execution);
  };

  /** Ends an execution with a RuntimeError, unless it has ended. */
  const failWith = (execution, fields) => {
    if (execution.ended) return;
    end(execution);
    sendText(ERROR, execution.id, stringify(fields));
  };

  const tooLarge = (bytes) => ({
    code: "RESULT_TOO_LARGE",
    message: `The result is at least ${bytes} bytes; the limit is ${limits.resultBytes}.`,
  });

  const begin = (id, silent) => {
    const execution = new Execution(id, silent, null);
    execution.fail = (_text, thrown) => failWith(execution, errorOf(thrown));
    running.set(id, execution);
    return execution;
  };

  const call = (id, buffer, start, end) => {
    if (loaded.target === null) {
      sendText(ERROR, id, stringify(loaded.error));
      return;
    }
    const nameEnd = start + 2 + (buffer[start] | (buffer[start + 1] << 8));
    if (settings.script) {
      storage.run(begin(id, false), script, running.get(id), text(buffer, nameEnd, end));
      return;
    }
    const headEnd = nameEnd + 4 + readU32(buffer, nameEnd);
    const head = parse(text(buffer, nameEnd + 4, headEnd));
    const execution = begin(id, head.logging === false);
    if (head.bodyFollows === true) storage.run(execution, answerFollowing, execution, head);
    else storage.run(execution, answer, execution, head, platform.binary(new Uint8Array(buffer.subarray(headEnd, end))));
  };

  /** Runs a script within its execution. Never rejects. */
  const script = async (execution, given) => {
    try {
      const result = stringify(await runScript(loaded.target, execution, parse(given).data));
      if (execution.ended) return;
      end(execution);
      const bytes = sendText(RESULT, execution.id, result, limits.resultBytes);
      if (bytes > limits.resultBytes) sendText(ERROR, execution.id, stringify(tooLarge(bytes)));
    } catch (error) {
      failed(execution, error);
    }
  };

  /** A call whose body comes in BODY frames. Never rejects. */
  const answerFollowing = async (execution, head) => {
    const body = new IncomingBody(() => {
      if (!execution.ended) sendNumber(BODY_CREDIT, execution.id, 1);
    });
    execution.body = body;
    await body.ready(loaded.streamsBody);
    if (!execution.ended) await answer(execution, head, body.ended ? platform.binary(body.whole()) : body);
  };

  /** Runs the handler within its execution. Never rejects. */
  const answer = async (execution, head, body) => {
    try {
      const incoming = {
        method: head.method,
        url: head.url,
        get signal() {
          execution.abort ??= new AbortController();
          return execution.abort.signal;
        },
      };
      const result = await callHandler(loaded.target, settings, execution, incoming, head.headers, body);
      if (execution.ended) return;
      if (result.iterator !== null) {
        await answerInPieces(execution, result);
        return;
      }
      const { body: content } = result;
      const whole = content === null ? "" : typeof content === "string" ? content : pieceOf(content);
      end(execution);
      const bytes = sendHeadAndBody(RESULT, execution.id, headOf(result), whole, limits.resultBytes);
      if (bytes > limits.resultBytes) sendText(ERROR, execution.id, stringify(tooLarge(bytes)));
    } catch (error) {
      failed(execution, error);
    }
  };

  const failed = (execution, error) => {
    if (execution.ended) return;
    append(execution, "error", describe(error));
    failWith(execution, errorOf(error));
  };

  /** HEAD, a PIECE for each credit, and an empty RESULT. Rejects with what the source threw. */
  const answerInPieces = async (execution, result) => {
    const { id } = execution;
    const { iterator } = result;
    execution.sending = { credit: WINDOW, wake: null };
    sendText(HEAD, id, headOf(result));
    let finished = false;
    try {
      while (!execution.ended) {
        const { done, value } = await iterator.next();
        if (done) {
          finished = true;
          break;
        }
        await sendPieces(execution, pieceOf(await value));
      }
    } catch (error) {
      finished = true;
      throw error;
    } finally {
      // The source hears that nobody listens any more; what it says to that is nobody's either.
      if (!finished) Promise.resolve(iterator.return?.()).catch(() => {});
    }
    if (execution.ended) return;
    end(execution);
    sendText(RESULT, id, "");
  };

  const loadProgram = async (id, given) => {
    const errors = {};
    try {
      const request = parse(given);
      limits = request.limits;
      Object.assign(process.env, request.environment);
      const own = { code: request.directory, entrypoint: request.entrypoint, script: request.contract === "script" };
      settings = { ...readSettings(platform, process.env, defaultEntrypoint), ...own };
      loaded = { ...(await load(platform, settings, 0)), error: null };
    } catch (error) {
      loaded.error = error instanceof LoadFailure ? error.fields : { ...errorOf(error), code: "LOAD_FAILED" };
      errors[""] = loaded.error;
    }
    sendText(LOADED, id, stringify({ errors, imports: {} }));
  };

  /** The host has given up on an execution. */
  const cancel = (id) => {
    const execution = running.get(id);
    if (execution !== undefined) {
      execution.ended = true;
      running.delete(id);
      wake(execution);
      const reason = new Error("The call was cancelled.");
      execution.body?.fail(reason);
      storage.run(execution, () => execution.abort?.abort(reason));
    }
    sendText(CANCELLED, id, '{"running":false}');
  };

  const print = capture((execution, level, given, fields) => {
    let shown = cut(given, limits.logEntryCharacters);
    let flags = shown === given ? 0 : CUT;
    const json = fields === undefined ? null : fieldsText(fields);
    if (json !== null) {
      shown += FIELDS_SEPARATOR + json;
      flags |= FIELDS;
    }
    if (execution === null) {
      sendLog(0, LEVELS[level], flags, dateNow(), shown);
      return;
    }
    if (execution.logBytes > limits.logBytes) return;
    execution.logBytes += shown.length + 1;
    if (execution.logBytes > limits.logBytes) sendLog(execution.id, LEVELS.warn, CUT, dateNow(), "[log truncated]");
    else sendLog(execution.id, LEVELS[level], flags, dateNow(), shown);
  });

  openChannel(
    platform,
    (kind, id, buffer, start, end) => {
      if (kind === CALL) call(id, buffer, start, end);
      else if (kind === PING) sendText(PONG, id, "");
      else if (kind === CANCEL) cancel(id);
      else if (kind === BODY) running.get(id)?.body?.push(platform.binary(new Uint8Array(buffer.subarray(start, end))));
      else if (kind === BODY_END) running.get(id)?.body?.end();
      else if (kind === CREDIT) wake(running.get(id), readU32(buffer, start));
      else if (kind === LOAD && !isLoading) {
        isLoading = true;
        loadProgram(id, text(buffer, start, end));
      } else if (kind !== FILE_ANSWER) platform.exit(1);
    },
    platform.exit,
  );
  sendText(READY, 0, stringify({ runtime: platform.runtime, version: platform.version }));
  flush();

  return {
    print,
    /** What nobody caught ends the execution it came from, or is only logged. It never ends the process, which others share. */
    lateThrow(kind, error) {
      const execution = storage.getStore();
      append(execution, "error", `${kind}: ${describe(error)}`);
      if (execution !== undefined) execution.fail("", error);
    },
  };
}

/** Sends bytes as PIECEs as the host takes them. */
async function sendPieces(execution, bytes) {
  const { sending } = execution;
  for (let at = 0; at < bytes.length; at += MAX_PIECE_BYTES) {
    while (sending.credit === 0 && !execution.ended) {
      await new Promise((resolve) => {
        sending.wake = resolve;
      });
    }
    if (execution.ended) return;
    sending.credit -= 1;
    sendBytes(PIECE, execution.id, bytes.length <= MAX_PIECE_BYTES ? bytes : bytes.subarray(at, at + MAX_PIECE_BYTES));
  }
}

/** So many pieces more of a response may be sent; or it has ended. */
function wake(execution, pieces = 0) {
  const sending = execution?.sending ?? null;
  if (sending === null) return;
  sending.credit += pieces;
  sending.wake?.();
  sending.wake = null;
}

function headOf({ status, headers }) {
  return stringify({ statusCode: status, headers });
}

/** Fields of an entry as JSON; null: there are none, or they cannot be written. */
function fieldsText(fields) {
  try {
    const json = typeof fields === "object" ? stringify(fields) : undefined;
    return json?.[0] === "{" && json.length < MAX_FIELDS ? json : null;
  } catch {
    return null;
  }
}
