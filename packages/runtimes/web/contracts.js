// The two contracts: what is looked for in the user's module, and how it is called.

import { append, message } from "./logs.js";
import { createRequest, visibleHeaders } from "./request.js";
import { finish, response } from "./response.js";
import { describe, LoadFailure } from "./thrown.js";

/**
 * Loads the user's file. Resolves to `{ target, streamsBody }`: the function that its contract wants, and whether it may ask for `req.bodyStream`, so
 * that it is called before a body is whole. Rejects with a LoadFailure.
 */
export async function load(platform, settings, attempt) {
  if (attempt === 0 && process.env.TREADLE_EGRESS === "1") await openWayOut();
  const base = fileUrl(settings.code.endsWith("/") ? settings.code : `${settings.code}/`);
  const file = new URL(settings.entrypoint.split("/").map(encodeURIComponent).join("/"), base);
  const path = decodeURIComponent(file.pathname);
  if (!file.href.startsWith(base)) throw failed(`The entry file ${settings.entrypoint} is outside of the function's folder.`);
  if (!platform.isFile(path)) throw failed(`The entry file ${settings.entrypoint} does not exist.`);
  let found;
  try {
    // A module that failed to load is remembered under its address, so a later attempt gets another one.
    found = await import(attempt === 0 ? file.href : `${file.href}?attempt=${attempt}`);
  } catch (error) {
    throw LoadFailure.of(error);
  }
  const target = settings.script ? exported(found, "handle") : exported(found, "main");
  if (target !== null) return { target, streamsBody: !settings.script && platform.read(path).includes("bodyStream") };
  const hint = settings.script ? "function handle(data)" : "default async (context) =>";
  throw failed(`${settings.entrypoint} exports no function. Use export ${hint} { ... }.`);
}

async function openWayOut() {
  try {
    const { openEgress } = await import("./egress.js");
    await openEgress(process.env);
  } catch (error) {
    append(undefined, "error", `There is no way to the network: ${message([error])}`);
  }
}

function failed(message) {
  return new LoadFailure({ code: "LOAD_FAILED", message });
}

function fileUrl(path) {
  return `file://${path.split("/").map(encodeURIComponent).join("/")}`;
}

/** The function a module exports: under this name, or as its default. */
function exported(found, name) {
  const candidates = [found[name], found.default?.[name], found.default, found.default?.default];
  return candidates.find((candidate) => typeof candidate === "function") ?? null;
}

/** Answers a request by the `handler` contract: resolves to what `finish` makes, rejects with what user code threw. */
export async function callHandler(target, settings, execution, incoming, headers, body) {
  const visible = visibleHeaders(headers, settings.enforcedHeaders);
  const req = createRequest(incoming.method, incoming.url, visible, body, () => incoming.signal);
  if (target.length === 2) return finish(await callOlderForm(target, req));
  const context = {
    req,
    res: { ...response },
    log: (...args) => append(execution, "info", message(args)),
    error: (...args) => append(execution, "error", message(args)),
    get logger() {
      return loggerOf(execution);
    },
  };
  return finish(await target(context));
}

/** `context.logger`: a message, and fields that stay apart from it. */
function loggerOf(execution) {
  const at = (level) => (text, fields) => append(execution, level, message([text]), fields);
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** The (req, res) form: the first call of res answers, also when it comes after the function returned. */
function callOlderForm(target, req) {
  return new Promise((resolve, reject) => {
    const res = { ...response };
    for (const method of Object.keys(response)) {
      res[method] = (...args) => {
        const answer = response[method](...args);
        resolve(answer);
        return answer;
      };
    }
    (async () => {
      const returned = await target(req, res);
      if (returned !== undefined && returned !== null) resolve(returned);
    })().catch(reject);
  });
}

/** Calls a script with its data: resolves to what it returned, with what is missing as it was given. Rejects with what it threw. */
export async function runScript(target, execution, data) {
  const given = scriptData(data);
  const returned = (await target(given)) ?? given;
  if (typeof returned !== "object") throw new TypeError("handle must return an object, or nothing.");
  const answer = {
    payload: returned.payload === undefined ? given.payload : returned.payload,
    variables: returned.variables ?? given.variables,
    meta: returned.meta ?? given.meta,
    flow: returned.flow ?? given.flow,
  };
  if (answer.payload !== null && typeof answer.payload !== "string") {
    throw new TypeError("The payload that handle returns must be a string or null.");
  }
  const { response_code: code, logs: lines } = returned;
  if (code !== undefined && code !== null) {
    if (![0, 1, 2, 3, 4].includes(code)) throw new RangeError("response_code must be 0, 1, 2, 3 or 4.");
    answer.response_code = code;
  }
  if (Array.isArray(lines)) {
    answer.logs = lines.map((each) => message([each]));
    for (const line of answer.logs) append(execution, "info", line);
  }
  return answer;
}

/** Answers a request by the `script` contract; a throw of the script is an answer too. */
export async function callScript(target, execution, body) {
  try {
    return json(200, await runScript(target, execution, JSON.parse(new TextDecoder().decode(body))));
  } catch (error) {
    append(execution, "error", describe(error));
    const { name, message: text, stack } = error instanceof Error ? error : { name: "Error", message: message([error]) };
    return json(500, { error: { name, message: text, stack: stack ?? "" } });
  }
}

function json(status, value) {
  return { status, headers: [["content-type", "application/json; charset=utf-8"]], body: JSON.stringify(value), iterator: null };
}

function scriptData(data) {
  if (typeof data !== "object" || data === null) throw new TypeError("The request's body must be a JSON object.");
  const { payload = null, variables = {}, meta = {}, flow = {}, ...rest } = data;
  return { payload, variables, meta, flow: { variables: {}, ...flow }, ...rest };
}
