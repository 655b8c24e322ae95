// The two contracts: what is looked for in the user's module, and how it is called.

import { append, describe, message } from "./logs.js";
import { createRequest, visibleHeaders } from "./request.js";
import { finish, response } from "./response.js";

/** Loads the user's file. Resolves to the function that its contract wants; rejects with the text for the error log. */
export async function load(platform, settings, attempt) {
  const base = fileUrl(settings.code.endsWith("/") ? settings.code : `${settings.code}/`);
  const file = new URL(settings.entrypoint.split("/").map(encodeURIComponent).join("/"), base);
  const path = decodeURIComponent(file.pathname);
  if (!file.href.startsWith(base)) throw `The entry file ${settings.entrypoint} is outside of the function's folder.`;
  if (!platform.isFile(path)) throw `The entry file ${settings.entrypoint} does not exist.`;
  let found;
  try {
    // A module that failed to load is remembered under its address, so a later attempt gets another one.
    found = await import(attempt === 0 ? file.href : `${file.href}?attempt=${attempt}`);
  } catch (error) {
    throw describe(error);
  }
  const target = settings.script ? exported(found, "handle") : exported(found, "main");
  if (target !== null) return target;
  throw settings.script
    ? `${settings.entrypoint} exports no function. Use export function handle(data) { ... }.`
    : `${settings.entrypoint} exports no function. Use export default async (context) => { ... }.`;
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
  const logger = {};
  for (const level of ["debug", "info", "warn", "error"]) {
    logger[level] = (text, fields) => append(execution, level, message([text]), fields);
  }
  const context = {
    req,
    res: { ...response },
    log: (...args) => append(execution, "info", message(args)),
    error: (...args) => append(execution, "error", message(args)),
    logger,
  };
  return finish(await target(context));
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

/** Answers a request by the `script` contract; a throw of the script is an answer too. */
export async function callScript(target, execution, body) {
  try {
    const given = scriptData(body);
    const returned = (await target(given)) ?? given;
    if (typeof returned !== "object") throw new TypeError("handle must return an object, or nothing.");
    const answer = {
      payload: returned.payload === undefined ? given.payload : returned.payload,
      variables: returned.variables ?? given.variables,
      meta: returned.meta ?? given.meta,
      flow: returned.flow ?? given.flow,
    };
    if (answer.payload !== null && typeof answer.payload !== "string") throw new TypeError("payload must be a string or null.");
    if (returned.response_code !== undefined) {
      if (![0, 1, 2, 3, 4].includes(returned.response_code)) throw new RangeError("response_code must be 0, 1, 2, 3 or 4.");
      answer.response_code = returned.response_code;
    }
    if (Array.isArray(returned.logs)) {
      answer.logs = returned.logs.map((each) => message([each]));
      for (const line of answer.logs) append(execution, "info", line);
    }
    return json(200, answer);
  } catch (error) {
    append(execution, "error", describe(error));
    const { name, message: text, stack } = error instanceof Error ? error : { name: "Error", message: message([error]) };
    return json(500, { error: { name, message: text, stack: stack ?? "" } });
  }
}

function json(status, value) {
  return { status, headers: [["content-type", "application/json; charset=utf-8"]], body: JSON.stringify(value), iterator: null };
}

function scriptData(body) {
  const data = JSON.parse(new TextDecoder().decode(body));
  if (typeof data !== "object" || data === null) throw new TypeError("The request's body must be a JSON object.");
  const { payload = null, variables = {}, meta = {}, flow = {}, ...rest } = data;
  return { payload, variables, meta, flow: { variables: {}, ...flow }, ...rest };
}
