import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { sendBytes } from "../harness/http.ts";
import type { Server } from "../harness/server.ts";
import { sharedServer } from "../harness/shared-server.ts";

const MEBIBYTE = 1024 * 1024;
const server = sharedServer({ flags: { prewarmed: "1" }, prepare: () => save(server) });

/** The same handler in both languages: what it does is told by the path. */
const HANDLER = {
  node: `let cancelled = 0;
module.exports = async ({ req, res, log, error }) => {
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  async function* ticks(ms) { try { for (let n = 0; ; n++) { yield "data: " + n + "\\n\\n"; await sleep(ms); } } finally { cancelled += 1; } }
  switch (req.path) {
    case "/echo": log("seen"); return res.json({ method: req.method, path: req.path, query: req.query, queryString: req.queryString, headers: req.headers, body: req.bodyText }, 207, { "x-one": "1", "set-cookie": ["a=1", "b=2"] });
    case "/events": return res.stream(ticks(30), 200, { "content-type": "text/event-stream" });
    case "/cancelled": return res.text(String(cancelled));
    case "/download": { const piece = Buffer.alloc(200000, "x"); return res.stream((async function* () { for (let left = Number(req.query.bytes); left > 0; left -= piece.length) yield left < piece.length ? piece.subarray(0, left) : piece; })(), 200, { "content-type": "application/octet-stream" }); }
    case "/upload": { let bytes = 0; for await (const chunk of req.bodyStream) { bytes += chunk.length; } return res.json({ bytes }); }
    case "/pass": return res.stream(req.bodyStream);
    case "/breaks": return res.stream((async function* () { yield "a part"; await sleep(50); throw new Error("and no more"); })());
    case "/throw": throw new Error("no such luck");
    case "/sleep": await sleep(Number(req.query.ms)); return res.text("slept");
    case "/large": return res.text("x".repeat(2_000_000));
    case "/empty": return res.empty();
    case "/early": return res.text("enough", 403);
  }
  return res.text("nothing at " + req.path, 404);
};`,
  python: `import asyncio
cancelled = 0
async def main(context):
    req, res = context.req, context.res
    async def ticks(pause):
        global cancelled
        n = 0
        try:
            while True:
                yield "data: %d\\n\\n" % n
                n += 1
                await asyncio.sleep(pause)
        finally:
            cancelled += 1
    path = req.path
    if path == "/echo":
        context.log("seen")
        return res.json({"method": req.method, "path": req.path, "query": req.query, "queryString": req.query_string, "headers": req.headers, "body": req.body_text}, 207, {"x-one": "1", "set-cookie": ["a=1", "b=2"]})
    if path == "/events": return res.stream(ticks(0.03), 200, {"content-type": "text/event-stream"})
    if path == "/cancelled": return res.text(str(cancelled))
    if path == "/download":
        async def pieces():
            piece = b"x" * 200000
            left = int(req.query["bytes"])
            while left > 0:
                yield piece[:left]
                left -= len(piece)
        return res.stream(pieces(), 200, {"content-type": "application/octet-stream"})
    if path == "/upload":
        size = 0
        async for chunk in req.body_stream: size += len(chunk)
        return res.json({"bytes": size})
    if path == "/pass": return res.stream(req.body_stream)
    if path == "/breaks":
        async def broken():
            yield "a part"
            await asyncio.sleep(0.05)
            raise RuntimeError("and no more")
        return res.stream(broken())
    if path == "/throw": raise RuntimeError("no such luck")
    if path == "/sleep":
        await asyncio.sleep(int(req.query["ms"]) / 1000)
        return res.text("slept")
    if path == "/large": return res.text("x" * 2_000_000)
    if path == "/empty": return res.empty()
    if path == "/early": return res.text("enough", 403)
    return res.text("nothing at " + path, 404)`,
};
const LANGUAGES = ["node", "python"] as const;

async function put(to: Server, name: string, body: object): Promise<void> {
  const answer = await to.send("PUT", `/api/v1/workspaces/w/functions/${name}`, body);
  if (answer.status !== 200) throw new Error(`${name}: ${answer.status} ${answer.text.slice(0, 1_000)}`);
}

async function save(to: Server): Promise<void> {
  await to.save("w", { inline: { code: "return 1" } });
  for (const language of LANGUAGES) {
    const file = { path: language === "node" ? "index.js" : "main.py", text: HANDLER[language] };
    const settings = { timeoutMs: 20_000, requestBytes: 150 * MEBIBYTE };
    await put(to, language, { language, contract: "handler", files: [file], settings });
  }
  const short = { path: "index.js", text: HANDLER.node };
  await put(to, "short", { contract: "handler", files: [short], settings: { timeoutMs: 300, requestBytes: 1_000 } });
  await put(to, "broken", { contract: "handler", files: [{ path: "index.js", text: "throw new Error('not today')" }] });
}

interface Streamed {
  readonly response: IncomingMessage;
  readonly headers: IncomingMessage["headers"];
  readonly status: number;
}

/** Sends a request and resolves with the head of its response. */
function open(
  method: string,
  path: string,
  options: { headers?: Record<string, string>; body?: (send: (chunk: Buffer) => Promise<void>) => Promise<void> } = {},
): Promise<Streamed> {
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(
      { host: "127.0.0.1", port: server.port, method, path, agent: false, headers: options.headers ?? {} },
      (response) => resolve({ response, headers: response.headers, status: response.statusCode ?? 0 }),
    );
    outgoing.on("error", reject);
    const send = (chunk: Buffer) => new Promise<void>((done) => (outgoing.write(chunk) ? done() : outgoing.once("drain", done)));
    if (options.body === undefined) outgoing.end();
    else void options.body(send).then(() => outgoing.end());
  });
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

/** Resident memory of the server's own process, bytes; its peak since it was last reset. */
function peakMemory(): number {
  return 1024 * Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))?.[1]);
}

describe.each(LANGUAGES)("a handler in %s", (language) => {
  const at = `/f/w/${language}`;

  test("gets method, path, query, headers and body, and answers with its own status and headers", async () => {
    const { response, headers, status } = await open("PATCH", `${at}/echo?a=b%20c&d==e`, {
      headers: {
        ...{
          "content-length": "4",
          "X-Given": "value",
          authorization: "Bearer of-its-own",
          te: "trailers",
          connection: "close, x-hop",
          "x-hop": "1",
        },
        ...{ "x-open-runtimes-secret": "guess", "x-open-runtimes-log-id": "../x", "x-forwarded-for": "10.1.2.3" },
      },
      body: (send) => send(Buffer.from("body")),
    });
    expect(status).toBe(207);
    expect(headers).toMatchObject({ "x-one": "1", "set-cookie": ["a=1", "b=2"] });
    expect(Object.keys(headers).filter((name) => name.startsWith("x-open-runtimes"))).toEqual([]);
    const seen = JSON.parse(await textOf(response));
    expect(seen).toMatchObject({ method: "PATCH", path: "/echo", queryString: "a=b%20c&d==e", body: "body" });
    expect(seen.headers).toMatchObject({
      ...{ "x-given": "value", authorization: "Bearer of-its-own", "x-forwarded-for": "10.1.2.3, 127.0.0.1" },
      ...{ "x-forwarded-proto": "http", "x-forwarded-host": `127.0.0.1:${server.port}`, host: `127.0.0.1:${server.port}` },
    });
    const hidden = Object.keys(seen.headers).filter((name) => /^(x-open-runtimes.*|te|connection|x-hop|keep-alive)$/.test(name));
    expect(hidden).toEqual([]);
    const id = String(headers["x-treadle-execution"]);
    const recorded = await recordOf(id);
    expect(recorded).toMatchObject({ state: "succeeded", function: language, logs: [{ message: "seen" }] });
  });

  test("an address without a path is its root", async () => {
    for (const path of [at, `${at}/`, `${at}?a=1`]) expect((await server.send("GET", path)).text).toBe("nothing at /");
  });

  test("HEAD has the headers and no body", async () => {
    const { response, headers, status } = await open("HEAD", `${at}/echo`);
    expect([status, headers["x-one"], await textOf(response)]).toEqual([207, "1", ""]);
  });

  test("no content is no content", async () => {
    const { status, headers, response } = await open("GET", `${at}/empty`);
    expect([status, headers["content-length"], await textOf(response)]).toEqual([204, undefined, ""]);
  });

  test("what it throws is an empty 500, and the reason is in the execution", async () => {
    const answer = await server.send("POST", `${at}/throw`);
    expect([answer.status, answer.text]).toEqual([500, ""]);
    const recorded = await recordOf(String(answer.headers["x-treadle-execution"]));
    expect(recorded).toMatchObject({
      state: "failed",
      error: { code: "THREW", message: expect.stringContaining("no such luck") },
    });
  });

  test("a large response comes whole", async () => {
    const answer = await server.send("GET", `${at}/large`);
    expect([answer.status, answer.text.length]).toEqual([200, 2_000_000]);
  });

  test("server-sent events come as they are sent; a caller who goes away ends the call", async () => {
    const { response, headers } = await open("GET", `${at}/events`);
    expect(headers["content-type"]).toMatch(/^text\/event-stream/);
    let text = "";
    const times: number[] = [];
    for await (const chunk of response) {
      text += String(chunk);
      times.push(performance.now());
      if (text.includes("data: 3\n")) break;
    }
    expect(text).toMatch(/^data: 0\n\ndata: 1\n\ndata: 2\n\n/);
    expect((times.at(-1) as number) - (times[0] as number)).toBeGreaterThan(30);
    const id = String(headers["x-treadle-execution"]);
    expect(await recordOf(id)).toMatchObject({ state: "cancelled", error: { code: "CANCELLED" } });
    await expect
      .poll(async () => Number((await server.send("GET", `${at}/cancelled`)).text), { timeout: 5_000 })
      .toBeGreaterThan(0);
  });

  test("a caller who goes away before the answer ends the call", async () => {
    const socket = connect(server.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write(`GET ${at}/sleep?ms=15000 HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    await expect.poll(async () => (await running(language)).length, { timeout: 5_000 }).toBeGreaterThan(0);
    socket.destroy();
    await expect.poll(async () => (await running(language)).length, { timeout: 3_000 }).toBe(0);
  });

  test("100 MB go out, with little memory, however slowly they are read", async () => {
    await server.send("GET", `${at}/download?bytes=5000000`);
    const before = peakMemory();
    const { response } = await open("GET", `${at}/download?bytes=100000000`);
    let bytes = 0;
    for await (const chunk of response) {
      const pausing = Math.floor(bytes / 10_000_000);
      bytes += (chunk as Buffer).length;
      if (Math.floor(bytes / 10_000_000) > pausing) await sleep(30);
    }
    const grown = (peakMemory() - before) / MEBIBYTE;
    console.log(`${language}: 100 MB out, the server grew by ${grown.toFixed(1)} MiB`);
    expect(bytes).toBe(100_000_000);
    expect(grown).toBeLessThan(30);
  });

  test("100 MB come in, with little memory", async () => {
    const piece = randomBytes(256 * 1024);
    const upload = (total: number) => async (send: (chunk: Buffer) => Promise<void>) => {
      for (let left = total; left > 0; left -= piece.length) await send(left < piece.length ? piece.subarray(0, left) : piece);
    };
    await textOf((await open("POST", `${at}/upload`, { body: upload(5_000_000) })).response);
    const before = peakMemory();
    const { response } = await open("POST", `${at}/upload`, {
      headers: { "content-length": "100000000" },
      body: upload(100_000_000),
    });
    expect(JSON.parse(await textOf(response))).toEqual({ bytes: 100_000_000 });
    const grown = (peakMemory() - before) / MEBIBYTE;
    console.log(`${language}: 100 MB in, the server grew by ${grown.toFixed(1)} MiB`);
    expect(grown).toBeLessThan(30);
  });

  test("both directions flow at once", async () => {
    const sent: Buffer[] = [];
    const { response } = await open("POST", `${at}/pass`, {
      body: async (send) => {
        for (let n = 0; n < 40; n++) {
          const chunk = randomBytes(30_000 + n);
          sent.push(chunk);
          await send(chunk);
          if (n % 10 === 0) await sleep(5);
        }
      },
    });
    const got: Buffer[] = [];
    for await (const chunk of response) got.push(chunk as Buffer);
    expect(Buffer.concat(got).equals(Buffer.concat(sent))).toBe(true);
  });

  test("a stream that breaks off does not look whole", async () => {
    const { response, headers } = await open("GET", `${at}/breaks`);
    await expect(textOf(response)).rejects.toThrow();
    expect(await recordOf(String(headers["x-treadle-execution"]))).toMatchObject({ state: "failed", error: { code: "THREW" } });
  });

  test("an answer before the whole body has come is passed on", async () => {
    const { status, response } = await open("POST", `${at}/early`, {
      // Else the server would close with its answer, and the answer be lost on a client that still writes.
      headers: { "content-length": "3000000", connection: "keep-alive" },
      body: async (send) => {
        for (let n = 0; n < 30; n++) await send(Buffer.alloc(100_000));
      },
    });
    expect([status, await textOf(response)]).toEqual([403, "enough"]);
  });
});

test("a client that asks first is told to go on", async () => {
  const asked =
    "POST /f/w/node/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
  const socket = connect(server.port, "127.0.0.1");
  socket.write(asked);
  let text = "";
  for await (const chunk of socket) {
    text += String(chunk);
    if (text === "HTTP/1.1 100 Continue\r\n\r\n") socket.write("ok");
  }
  expect(text).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 207 /);
  expect(text).toContain('"body":"ok"');
  expect(text).not.toContain('"expect"');
});

describe("what is not done", () => {
  test("changing the protocol: 501", async () => {
    const answer = await server.send("GET", "/f/w/node/echo", undefined, {
      headers: { connection: "Upgrade", upgrade: "websocket" },
    });
    expect([answer.status, answer.code]).toEqual([501, "UPGRADE_UNSUPPORTED"]);
    const http2 = await server.send("GET", "/f/w/node/echo", undefined, {
      headers: { connection: "Upgrade, HTTP2-Settings", upgrade: "h2c" },
    });
    expect(http2.status).toBe(207);
  });

  test.each([
    ["/f/w/nothing/x", 404, "UNKNOWN_FUNCTION"],
    ["/f/nowhere/f/x", 404, "UNKNOWN_WORKSPACE"],
    ["/f/w", 404, "ROUTE_NOT_FOUND"],
    ["/f/w/", 404, "ROUTE_NOT_FOUND"],
    ["/f/w/inline", 400, "BAD_REQUEST"],
    ["/f/w/%00", 404, "UNKNOWN_FUNCTION"],
    ["/f/w/..%2f..%2fx", 404, "UNKNOWN_FUNCTION"],
  ])("%s: %i %s", async (path, status, code) => {
    const answer = await server.send("GET", path);
    expect([answer.status, answer.code]).toEqual([status, code]);
  });

  test("an inline function says how it is called", async () => {
    expect((await server.send("POST", "/f/w/inline")).json.error?.message).toContain("POST /v2/functions/w/run/inline");
  });

  test("code that does not load is an empty 503, and the reason is in the execution", async () => {
    const answer = await server.send("GET", "/f/w/broken/");
    expect([answer.status, answer.text]).toEqual([503, ""]);
    const recorded = await recordOf(String(answer.headers["x-treadle-execution"]));
    expect(recorded).toMatchObject({ state: "failed", error: { message: expect.stringContaining("not today") } });
  });

  test("a call that takes too long is a 504", async () => {
    const answer = await server.send("GET", "/f/w/short/sleep?ms=5000");
    expect([answer.status, answer.code]).toEqual([504, "TIMED_OUT"]);
    expect(answer.headers["x-treadle-execution"]).toBeDefined();
  });

  test("a body beyond the function's limit is refused, whole or in pieces, with the limit's name", async () => {
    const announced = await server.send("POST", "/f/w/short/echo", Buffer.alloc(1_001));
    expect([announced.status, announced.code]).toEqual([413, "BODY_TOO_LARGE"]);
    expect(announced.json.error?.details).toEqual({ limit: "requestBytes", limitBytes: 1_000 });
    const { status, response } = await open("POST", "/f/w/short/sleep?ms=250", { body: (send) => send(Buffer.alloc(1_001)) });
    expect(status).toBe(413);
    expect(JSON.parse(await textOf(response)).error.message).toContain("requestBytes");
    expect((await server.send("POST", "/f/w/short/echo", Buffer.alloc(1_000))).status).toBe(207);
  });
});

test("requests on one connection are answered in their order", async () => {
  const one = (path: string, body: string) =>
    `POST /f/w/node${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const text = await sendBytes(server.port, one("/sleep?ms=100", "a") + one("/echo", "second") + one("/empty", ""), 1_500);
  const statuses = [...text.matchAll(/HTTP\/1.1 (\d+)/g)].map(([, status]) => status);
  expect(statuses).toEqual(["200", "207", "204"]);
});

describe("smuggled requests", () => {
  test.each([
    ["two lengths", "Content-Length: 5\r\nContent-Length: 6"],
    ["length and chunks", "Content-Length: 5\r\nTransfer-Encoding: chunked"],
    ["an unknown coding", "Transfer-Encoding: xchunked"],
    ["a length with a sign", "Content-Length: +5"],
  ])("%s are refused", async (_name, headers) => {
    const text = await sendBytes(
      server.port,
      `POST /f/w/node/echo HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n\r\n0\r\n\r\nGET /f/w/node/empty HTTP/1.1\r\nHost: localhost\r\n\r\n`,
    );
    expect(text).toMatch(/^HTTP\/1.1 4\d\d /);
    expect(text.match(/HTTP\/1.1 /g)).toHaveLength(1);
  });
});

async function recordOf(id: string): Promise<Record<string, unknown>> {
  let found: Record<string, unknown> = {};
  await expect
    .poll(
      async () => {
        const answer = await server.send("GET", `/api/v1/executions/${id}`);
        if (answer.status === 200) found = answer.json as Record<string, unknown>;
        return answer.status === 200 && found.state !== "running" && found.state !== "queued";
      },
      { timeout: 5_000 },
    )
    .toBe(true);
  return found;
}

/** Instances that have calls of a function in flight. */
async function running(name: string): Promise<unknown[]> {
  const { instances } = (await server.send("GET", "/api/v1/instances")).json as unknown as {
    instances: { program: string; inFlight: number }[];
  };
  return instances.filter((instance) => instance.program === `${name}()` && instance.inFlight > 0);
}
