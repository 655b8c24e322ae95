/** The conformance function: does what the header x-action says (test/conformance/ACTIONS.md). */
import type { Context } from "../../types/treadle.d.ts";

declare const Deno: { env: { get(name: string): string | undefined }; readTextFile(path: URL): Promise<string> };

const environment = (name: string) => Deno.env.get(name);
const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function* parts() {
  for (const part of ["one\n", "two\n", "three\n"]) {
    if (part !== "one\n") await sleep(200);
    yield part;
  }
}

function* repeated(size: number) {
  const piece = new Uint8Array(65_536).fill(97);
  for (let left = size; left > 0; left -= piece.length) yield piece.subarray(0, Math.min(left, piece.length));
}

async function* failing() {
  yield "one\n";
  await sleep(20);
  throw new Error("The source failed");
}

const actions: Record<string, (context: Context) => unknown> = {
  plainText: ({ res }) => res.text("Hello World 👋"),
  json: ({ res }) => res.json({ json: true, message: "Developers are awesome." }),
  charset: ({ res }) => res.text("ok", 200, { "content-type": "text/plain; charset=iso-8859-1" }),
  upperCaseType: ({ res }) => res.text("ok", 200, { "content-type": "TEXT/HTML" }),
  multipart: ({ res }) => res.text("--x--", 200, { "content-type": "multipart/form-data; boundary=12345" }),
  redirect: ({ res }) => res.redirect("https://example.com/there"),
  empty: ({ res }) => res.empty(),
  binary: ({ res }) => res.binary(new Uint8Array([0, 10, 255])),
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
  body: ({ req, res }) => res.json({ kind: typeof req.body === "object" ? "object" : "text", body: req.body }),
  bodyBinary: ({ req, res }) => res.binary(req.bodyBinary),
  environment: ({ res }) =>
    res.json({
      given: environment("CUSTOM_ENV_VAR"),
      missing: environment("NOT_DEFINED_VAR") ?? null,
      secret: environment("OPEN_RUNTIMES_SECRET") ?? null,
    }),
  log: ({ res, log, error }) => {
    log("Debug Log");
    error("Error Log");
    log("A", 42, true);
    log({ object: true });
    console.log("Native Log");
    return res.text("");
  },
  longLog: ({ res, log }) => {
    log("a".repeat(9000));
    return res.text("");
  },
  structuredLog: ({ res, logger }) => {
    logger.warn("structured", { key: "value" });
    return res.text("");
  },
  exception: ({ log }) => {
    log("before");
    throw new Error("Custom error message");
  },
  sleep: async ({ req, res }) => {
    await sleep(Number(req.headers["x-ms"]));
    return res.text("slept");
  },
  concurrentLog: async ({ req, res, log }) => {
    const id = req.headers["x-id"] as string;
    for (let round = 0; round < 3; round++) {
      log(id);
      console.log(`native ${id}`);
      await sleep(20);
    }
    return res.text(id);
  },
  stream: ({ res }) => res.stream(parts(), 201, { "x-streamed": "yes" }),
  streamLarge: ({ req, res }) => res.stream(repeated(Number(req.headers["x-size"]))),
  streamError: ({ res }) => res.stream(failing()),
  echoStream: ({ req, res }) => res.stream(req.bodyStream),
  large: ({ req, res }) => res.binary(new Uint8Array(Number(req.headers["x-size"])).fill(97)),
  file: async ({ res }) => res.text(await Deno.readTextFile(new URL("data.txt", import.meta.url))),
};

export default async (context: Context) => {
  const action = actions[context.req.headers["x-action"] ?? ""];
  return action === undefined ? context.res.text("Unknown action", 404) : action(context);
};
