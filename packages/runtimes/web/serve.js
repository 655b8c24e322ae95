// The server of HTTP.md on web Requests and Responses: what Deno and Bun have in common. Each of them starts it with its own `platform`:
// `write(text)` to the real stdout in one write, `append(file, text)`, `read(file)`, `isFile(path)`, `isFolder(path)`, `binary(bytes)`: the
// bytes as the language's users expect them.

import { callHandler, callScript, load } from "./contracts.js";
import { Execution, storage } from "./executions.js";
import { joined } from "./incoming-body.js";
import { append, capture, cut, endLines } from "./logs.js";
import { readHeaders } from "./request.js";
import { pieceOf } from "./response.js";
import { MAX_BODY_BYTES, readControl, readSettings } from "./settings.js";
import { describe } from "./thrown.js";

const MAX_ENTRY_CHARACTERS = 8000;
const CUT_NOTE = "... Log truncated due to size limit (8000 characters)";
const EMPTY = new Uint8Array(0);
const { setTimeout, clearTimeout } = globalThis;
const now = performance.now.bind(performance);

function plainText(status, text, more = {}) {
  return new Response(text, { status, headers: { "content-type": "text/plain; charset=utf-8", ...more } });
}

/** The body of a request; null when it is too large: then it was read to its end, so that the client gets the answer. */
async function readBody(request, headers) {
  const length = headers["content-length"];
  if (length === undefined && headers["transfer-encoding"] === undefined) return EMPTY;
  if (length !== undefined && Number(length) <= MAX_BODY_BYTES) return new Uint8Array(await request.arrayBuffer());
  if (request.body === null) return EMPTY;
  let chunks = [];
  let size = 0;
  for await (const chunk of request.body) {
    size += chunk.length;
    if (size <= MAX_BODY_BYTES) chunks.push(chunk);
    else chunks = [];
  }
  if (size > MAX_BODY_BYTES) return null;
  return joined(chunks);
}

/** `{ settings, respond(request): Promise<Response>, start(), lateThrow(error), print(level, bytes) }`. */
export function createServer(platform, defaultEntrypoint) {
  const settings = readSettings(platform, process.env, defaultEntrypoint);
  const print = capture((execution, level, given, fields) => {
    const text = given.length > MAX_ENTRY_CHARACTERS ? cut(given, MAX_ENTRY_CHARACTERS) + CUT_NOTE : given;
    if (execution !== null && execution.entries !== null) execution.entries.push({ level, text });
    else platform.write(`${JSON.stringify({ id: execution === null ? null : execution.id, level, text, fields })}\n`);
  });
  let loading = null;
  let lastLoad = null;
  let attempts = 0;
  let loadSeconds = 0;

  /** Loads user code; a failure is tried again by the next request. */
  const loaded = () => {
    if (loading !== null) return loading;
    loading = (async () => {
      const started = now();
      try {
        const { target } = await load(platform, settings, attempts++);
        return { target, error: null };
      } catch (failure) {
        loading = null;
        return { target: null, error: failure.text };
      } finally {
        loadSeconds = (now() - started) / 1000;
      }
    })();
    lastLoad = loading;
    return loading;
  };

  /** Puts the entries of an execution into files, where its reader looks for them there. */
  const writeFiles = (execution) => {
    if (execution.entries === null) return;
    const files = { logs: "", errors: "" };
    for (const { level, text } of execution.entries) files[level === "error" ? "errors" : "logs"] += `${text}\n`;
    execution.entries = null;
    for (const [name, text] of Object.entries(files)) {
      if (text !== "") platform.append(`${settings.logFolder}/${execution.id}_${name}.log`, text);
    }
  };

  const end = (execution) => {
    if (execution.ended) return;
    endLines(execution);
    execution.ended = true;
    writeFiles(execution);
  };

  /** Runs user code for one request. Resolves, never rejects, to a Response. */
  const execute = (target, execution, control, request, headers, body) =>
    new Promise((resolve) => {
      const started = now();
      let timer = null;
      let stopStream = null;
      const answer = (status, pairs, content) => {
        pairs.push(["x-open-runtimes-log-id", control.logging ? execution.id : ""]);
        return new Response(content, { status, headers: pairs });
      };
      const finishWith = (response) => {
        if (timer !== null) clearTimeout(timer);
        end(execution);
        resolve(response);
      };
      const failed = (text) => {
        if (execution.ended) return;
        append(execution, "error", text);
        stopStream?.();
        finishWith(answer(500, [], ""));
      };
      execution.fail = failed;
      if (control.timeoutSeconds > 0) timer = setTimeout(failed, control.timeoutSeconds * 1000, "Execution timed out.");
      /** A body that user code makes as its reader takes it; the execution goes on until its end. */
      const streamed = (iterator) => {
        let open = true;
        let broken = () => {};
        stopStream = () => {
          open = false;
          broken(new Error("The execution has ended."));
          storage.run(execution, () => Promise.resolve(iterator.return?.()).catch(() => {}));
        };
        return new ReadableStream(
          {
            start(controller) {
              broken = (error) => controller.error(error);
            },
            async pull(controller) {
              try {
                const { done, value } = await storage.run(execution, () => iterator.next());
                if (!open) return;
                if (!done) {
                  const piece = pieceOf(value);
                  if (piece.length > 0) controller.enqueue(piece);
                  return;
                }
                open = false;
                finishWith(null);
                controller.close();
              } catch (error) {
                if (!open) return;
                open = false;
                append(execution, "error", describe(error));
                finishWith(null);
                controller.error(error);
              }
            },
            cancel() {
              if (!open) return;
              stopStream();
              finishWith(null);
            },
          },
          { highWaterMark: 0 },
        );
      };
      storage.run(execution, async () => {
        try {
          const result = settings.script
            ? await callScript(target, execution, body)
            : await callHandler(target, settings, execution, request, headers, platform.binary(body));
          if (execution.ended) return;
          // Code that held the event loop past its time has kept the timer from firing.
          if (control.timeoutSeconds > 0 && now() - started > control.timeoutSeconds * 1000) failed("Execution timed out.");
          else if (result.iterator === null) finishWith(answer(result.status, result.headers, result.body));
          else resolve(answer(result.status, result.headers, streamed(result.iterator)));
        } catch (error) {
          failed(describe(error));
        }
      });
    });

  const respond = async (request) => {
    const path = request.url.slice(request.url.indexOf("/", request.url.indexOf("://") + 3));
    if (path === "/__opr/health") return plainText(200, "OK");
    if (path === "/__opr/timings") return plainText(200, `${platform.read(settings.timings)}load=${loadSeconds.toFixed(3)}\n`);
    const headers = readHeaders(request.headers);
    const control = readControl(headers, settings);
    const body = await readBody(request, headers);
    if (control.refusal !== null) return plainText(500, control.refusal);
    if (path === "/__opr/load") {
      const { error } = await lastLoad;
      return error === null ? plainText(200, "OK") : plainText(503, error, { "x-open-runtimes-load": "failed" });
    }
    if (body === null) return plainText(413, "The request body is larger than 20 MiB.");
    const execution = new Execution(control.id, !control.logging, settings.logFolder === null ? null : []);
    const { target, error } = await loaded();
    if (error === null) return execute(target, execution, control, request, headers, body);
    append(execution, "error", error);
    end(execution);
    return new Response("", { status: 503, headers: { "x-open-runtimes-log-id": control.logging ? control.id : "" } });
  };

  return {
    settings,
    respond,
    print,
    /** To be called when connections are taken. */
    start() {
      platform.write("HTTP server successfully started!\n");
      loaded();
    },
    /** What nobody caught ends the execution it came from, or is only logged. It never ends the process, which others share. */
    lateThrow(kind, error) {
      const execution = storage.getStore();
      const text = `${kind}: ${describe(error)}`;
      if (execution === undefined || execution.ended) append(undefined, "error", text);
      else execution.fail(text);
    },
  };
}
