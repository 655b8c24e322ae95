import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const PIECE = 64 * 1024;

async function* lines() {
  for (const line of ["one\n", "two\n", "three\n"]) {
    if (line !== "one\n") await delay(200);
    yield line;
  }
}

function* many(size) {
  for (let left = size; left > 0; left -= PIECE) yield Buffer.alloc(Math.min(PIECE, left), "a");
}

async function* failing() {
  yield "one\n";
  await delay(50);
  throw new Error("The source failed");
}

async function* echoed(body) {
  for await (const chunk of body) yield chunk;
}

const actions = {
  plainText: ({ res }) => res.text("Hello World 👋"),
  json: ({ res }) => res.json({ json: true, message: "Developers are awesome." }),
  charset: ({ res }) => res.text("ok", 200, { "content-type": "text/plain; charset=iso-8859-1" }),
  upperCaseType: ({ res }) => res.text("ok", 200, { "content-type": "TEXT/HTML" }),
  multipart: ({ res }) => res.text("--x--", 200, { "content-type": "multipart/form-data; boundary=12345" }),
  redirect: ({ res }) => res.redirect("https://example.com/there"),
  empty: ({ res }) => res.empty(),
  binary: ({ res }) => res.binary(Buffer.from([0, 10, 255])),
  noResponse: () => undefined,
  double: ({ res }) => {
    res.text("This should be ignored.");
    return res.text("This should be returned.");
  },
  headers: ({ req, res }) =>
    res.text("OK", 200, {
      "first-header": "first-value",
      "second-header": req.headers["x-open-runtimes-custom-in-header"] ?? "missing",
      "third-header": req.headers.cookie ?? "missing",
      "x-open-runtimes-custom-out-header": "third-value",
    }),
  setCookie: ({ res }) => res.text("OK", 200, { "set-cookie": ["a=1; Path=/", "b=2; HttpOnly"] }),
  status: ({ req, res }) => res.text("status", Number(req.headers["x-status"])),
  method: ({ req, res }) => res.text(req.method),
  url: ({ req, res }) => {
    const { url, port, path, query, queryString, scheme, host } = req;
    return res.json({ url, port, path, query, queryString, scheme, host });
  },
  requestHeaders: ({ req, res }) => res.json(req.headers),
  bodyText: ({ req, res }) => res.text(req.bodyText),
  bodyJson: ({ req, res }) => res.json(req.bodyJson),
  body: ({ req, res }) => res.json({ kind: typeof req.body === "string" ? "text" : "object", body: req.body }),
  bodyBinary: ({ req, res }) => res.binary(req.bodyBinary),
  environment: ({ res }) => {
    const { CUSTOM_ENV_VAR: given, NOT_DEFINED_VAR: missing = null, OPEN_RUNTIMES_SECRET: secret = null } = process.env;
    return res.json({ given, missing, secret });
  },
  log: ({ log, error, res }) => {
    log("Debug Log");
    error("Error Log");
    log("A", 42, true);
    log({ object: true });
    console.log("Native Log");
    return res.text("");
  },
  longLog: ({ log, res }) => {
    log("a".repeat(9000));
    return res.text("");
  },
  structuredLog: ({ logger, res }) => {
    logger.warn("structured", { key: "value" });
    return res.text("");
  },
  exception: ({ log }) => {
    log("before");
    throw new Error("Custom error message");
  },
  sleep: async ({ req, res }) => {
    await delay(Number(req.headers["x-ms"]));
    return res.text("slept");
  },
  concurrentLog: async ({ req, log, res }) => {
    const id = req.headers["x-id"];
    for (let round = 0; round < 3; round++) {
      log(id);
      if (round === 1) console.log(`native ${id}`);
      await delay(20);
    }
    return res.text(id);
  },
  stream: ({ res }) => res.stream(lines(), 201, { "x-streamed": "yes" }),
  streamLarge: ({ req, res }) => res.stream(many(Number(req.headers["x-size"]))),
  streamError: ({ res }) => res.stream(failing()),
  echoStream: ({ req, res }) => res.stream(echoed(req.bodyStream)),
  large: ({ req, res }) => res.binary(Buffer.alloc(Number(req.headers["x-size"]), "a")),
  file: ({ res }) => res.text(readFileSync(join(dirname(fileURLToPath(import.meta.url)), "data.txt"), "utf8")),
};

export default async (context) => {
  const action = actions[context.req.headers["x-action"]];
  return action === undefined ? context.res.text("Unknown action", 404) : action(context);
};
