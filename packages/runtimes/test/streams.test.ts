import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { manifest as ruby } from "../ruby/manifest.ts";
import { splitLogFields } from "../src/index.ts";
import type { ChannelClient, LoadOptions, RequestHead } from "./channel-client.ts";
import { builtGo, GO_BUILD_MS, goMissing, startLoadedGo } from "./go-server.ts";
import { folderOf, startNode } from "./node-server.ts";
import { startPython } from "./python-server.ts";
import { missing, startLoadedWeb, WEB_RUNTIMES } from "./web-server.ts";

const BODY = 0x06;
const BODY_END = 0x07;
const CREDIT = 0x08;
const HEAD = 0x89;
const PIECE = 0x8a;
const WINDOW = 4;

const NODE_STREAMS = `
let stopped = false;
async function* endless() {
  try { for (;;) { yield Buffer.alloc(1000, "a"); await null; } } finally { stopped = true; }
}
function* pieces(count) { for (let i = 0; i < count; i++) yield "piece " + i + "\\n"; }
async function* late() { yield "one"; await new Promise((done) => setTimeout(done, 20)); throw new Error("source failed"); }
async function* upper(body) { for await (const piece of body) yield piece.toString().toUpperCase(); }
export default async ({ req, res, logger }) => {
  if (req.path === "/pieces") return res.stream(pieces(+req.query.n), 201, { "x-a": "b" });
  if (req.path === "/endless") return res.stream(endless());
  if (req.path === "/stopped") return res.json(stopped);
  if (req.path === "/large") return res.stream(["x".repeat(600 * 1024)]);
  if (req.path === "/late") return res.stream(late());
  if (req.path === "/upper") return res.stream(upper(req.bodyStream));
  if (req.path === "/log") { logger.warn("careful", { a: { b: "\\u001e" } }); logger.info("plain"); return res.empty(); }
  return res.text(req.bodyText);
};`;
// Pieces are Uint8Arrays where there is no Buffer.
const WEB_STREAMS = NODE_STREAMS.replace('Buffer.alloc(1000, "a")', "new Uint8Array(1000).fill(97)").replace(
  "piece.toString()",
  "new TextDecoder().decode(piece)",
);
const PYTHON_STREAMS = `
import asyncio
stopped = []
async def endless():
    try:
        while True:
            yield b"a" * 1000
    finally:
        stopped.append(True)
def pieces(count):
    for i in range(count):
        yield "piece " + str(i) + "\\n"
async def late():
    yield "one"
    await asyncio.sleep(0.02)
    raise ValueError("source failed")
async def upper(body):
    async for piece in body:
        yield piece.decode().upper()
def main(context):
    req, res = context.req, context.res
    if req.path == "/pieces":
        return res.stream(pieces(int(req.query["n"])), 201, {"x-a": "b"})
    if req.path == "/endless":
        return res.stream(endless())
    if req.path == "/stopped":
        return res.json(bool(stopped))
    if req.path == "/large":
        return res.stream(["x" * (600 * 1024)])
    if req.path == "/late":
        return res.stream(late())
    if req.path == "/upper":
        return res.stream(upper(req.body_stream))
    if req.path == "/log":
        context.logger.warn("careful", {"a": {"b": "\\x1e"}})
        context.logger.info("plain")
        return res.empty()
    return res.text(req.body_text)
`;
// The same without a word of streams.
const NODE_WHOLE = "export default ({ req, res }) => res.text(req.bodyText);";
const PYTHON_WHOLE = "def main(context):\n    return context.res.text(context.req.body_text)\n";
const NODE_SCRIPT = `exports.handle = async (data) => {
  if (data.payload === "throw") throw new RangeError("bad data");
  if (data.payload === "shape") return { payload: 42 };
  return { payload: data.payload + "!", logs: ["seen", 1], response_code: 3 };
};`;
const WEB_SCRIPT = NODE_SCRIPT.replace("exports.handle =", "export const handle =");
const PYTHON_SCRIPT = `def handle(data):
    if data["payload"] == "throw":
        raise ValueError("bad data")
    if data["payload"] == "shape":
        return {"payload": 42}
    return {"payload": data["payload"] + "!", "logs": ["seen", 1], "response_code": 3}
`;

async function startLoadedPython(options: LoadOptions): Promise<ChannelClient> {
  const client = startPython();
  expect((await client.load(options)).errors).toEqual({});
  return client;
}

const RUBY_STREAMS = `
$stopped = false
def main(context)
  req, res = context.req, context.res
  case req.path
  when "/pieces" then res.stream((0...req.query["n"].to_i).lazy.map { |i| "piece #{i}\\n" }, 201, { "x-a" => "b" })
  when "/endless"
    source = Object.new
    def source.each
      loop { yield "a" * 1000 }
    ensure
      $stopped = true
    end
    res.stream(source)
  when "/stopped" then res.json($stopped)
  when "/large" then res.stream(["x" * (600 * 1024)])
  when "/late"
    source = Object.new
    def source.each
      yield "one"
      sleep 0.02
      raise ArgumentError, "source failed"
    end
    res.stream(source)
  when "/upper" then res.stream(req.body_stream.lazy.map(&:upcase))
  when "/log"
    context.logger.warn("careful", { a: { b: "\\u001e" } })
    context.logger.info("plain")
    res.empty
  else res.text(req.body_text)
  end
end
`;
const RUBY_WHOLE = "def main(context) = context.res.text(context.req.body_text)\n";
const RUBY_SCRIPT = `def handle(data)
  raise ArgumentError, "bad data" if data["payload"] == "throw"
  return { "payload" => 42 } if data["payload"] == "shape"
  { "payload" => data["payload"] + "!", "logs" => ["seen", 1], "response_code" => 3 }
end
`;
const RUBY = await ruby.find();

interface Language {
  readonly name: string;
  readonly entrypoint: string;
  readonly start: (options: LoadOptions) => Promise<ChannelClient>;
  readonly streams: string;
  readonly whole: string;
  /** Null: the language has no scripts. */
  readonly script: string | null;
  /** What is compiled is built once, before all tests. */
  readonly build?: () => Promise<unknown>;
  /** Why it cannot be tested here. */
  readonly skip?: string | null;
}

const LANGUAGES: readonly Language[] = [
  { name: "node", entrypoint: "index.js", start: startNode, streams: NODE_STREAMS, whole: NODE_WHOLE, script: NODE_SCRIPT },
  {
    name: "python",
    entrypoint: "main.py",
    start: startLoadedPython,
    streams: PYTHON_STREAMS,
    whole: PYTHON_WHOLE,
    script: PYTHON_SCRIPT,
  },
  ...Object.entries(WEB_RUNTIMES).map(([name, found]) => ({
    name,
    entrypoint: "main.ts",
    start: (options: LoadOptions) => startLoadedWeb(found, options),
    streams: WEB_STREAMS.replace("body) {", "body: any) {")
      .replace("count)", "count: number)")
      .replace("logger })", "logger }: any)"),
    whole: NODE_WHOLE.replace("res })", "res }: any)"),
    script: WEB_SCRIPT,
    skip: missing(found),
  })),
  {
    name: "ruby",
    entrypoint: "main.rb",
    start: (options) => startLoadedWeb(RUBY, options),
    streams: RUBY_STREAMS,
    whole: RUBY_WHOLE,
    script: RUBY_SCRIPT,
    skip: missing(RUBY),
  },
  // One program does it all: conformance/channel.
  {
    name: "go",
    entrypoint: "main.go",
    start: ({ directory: _, ...options }) => startLoadedGo(options),
    streams: "",
    whole: "",
    script: null,
    build: builtGo,
    skip: goMissing,
  },
];

/** The number in a CREDIT or BODY_CREDIT. */
function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** A call whose response comes in pieces, with a window of credit at first; `grant` gives more. */
function streamed(client: ChannelClient, head: RequestHead) {
  const frames: { kind: number; payload: Buffer }[] = [];
  client.onStream = (kind, _id, payload) => frames.push({ kind, payload });
  const { id, answer } = client.startRequest(head);
  const pieces = () => frames.filter(({ kind }) => kind === PIECE).map(({ payload }) => payload);
  return {
    id,
    answer,
    frames,
    pieces,
    text: () => Buffer.concat(pieces()).toString(),
    grant: (count: number) => client.send(CREDIT, id, number(count)),
  };
}

describe.each(LANGUAGES)("$name", ({ entrypoint, start, streams, whole, script, build, skip = null }) => {
  beforeAll(async () => {
    if (skip === null) await build?.();
  }, GO_BUILD_MS);
  beforeEach((context) => {
    if (skip !== null) context.skip(skip);
  });

  test("a response leaves in pieces, as many as there is credit for", async () => {
    using folder = folderOf({ [entrypoint]: streams });
    await using client = await start({ contract: "handler", directory: folder.path, entrypoint });
    const call = streamed(client, { url: "/pieces?n=10" });
    await expect.poll(() => call.pieces().length).toBe(WINDOW);
    await client.ping();
    expect(call.pieces().length).toBe(WINDOW);
    expect(call.frames[0]?.kind).toBe(HEAD);
    expect(JSON.parse(String(call.frames[0]?.payload))).toMatchObject({
      statusCode: 201,
      headers: expect.arrayContaining([["x-a", "b"]]),
    });
    call.grant(2);
    await expect.poll(() => call.pieces().length).toBe(WINDOW + 2);
    call.grant(10);
    expect((await call.answer).result?.length).toBe(0);
    expect(call.text()).toBe(Array.from({ length: 10 }, (_, index) => `piece ${index}\n`).join(""));
    expect(client.violations).toEqual([]);
  });

  test("what is longer than a piece may be is cut", async () => {
    using folder = folderOf({ [entrypoint]: streams });
    await using client = await start({ contract: "handler", directory: folder.path, entrypoint });
    const call = streamed(client, { url: "/large" });
    expect((await call.answer).result?.length).toBe(0);
    expect(call.pieces().map(({ length }) => length)).toEqual([256 * 1024, 256 * 1024, 88 * 1024]);
  });

  test("CANCEL ends a stream, and its source hears of it", async () => {
    using folder = folderOf({ [entrypoint]: streams });
    await using client = await start({ contract: "handler", directory: folder.path, entrypoint });
    const call = streamed(client, { url: "/endless" });
    await expect.poll(() => call.pieces().length).toBe(WINDOW);
    client.cancel(call.id);
    expect((await call.answer).cancelled).toEqual({ running: false });
    await expect.poll(async () => String((await client.request({ url: "/stopped" })).response?.body)).toBe("true");
    expect(client.violations).toEqual([]);
  });

  test("an error of the source is an ERROR after the HEAD", async () => {
    using folder = folderOf({ [entrypoint]: streams });
    await using client = await start({ contract: "handler", directory: folder.path, entrypoint });
    const call = streamed(client, { url: "/late" });
    expect((await call.answer).error).toMatchObject({ code: "THREW", message: "source failed" });
    expect(call.text()).toBe("one");
  });

  test("a body that follows is given as it comes, and credited as it is read", async () => {
    using folder = folderOf({ [entrypoint]: streams });
    await using client = await start({ contract: "handler", directory: folder.path, entrypoint });
    const call = streamed(client, { url: "/upper", method: "POST", bodyFollows: true });
    client.send(BODY, call.id, "first ");
    await expect.poll(() => call.text(), { timeout: 5000 }).toBe("FIRST ");
    client.send(BODY, call.id, "second");
    await expect.poll(() => call.text()).toBe("FIRST SECOND");
    client.send(BODY_END, call.id, "");
    expect((await call.answer).result?.length).toBe(0);
    const credited = call.frames
      .filter(({ kind }) => kind === 0x8b)
      .reduce((sum, { payload }) => sum + payload.readUInt32LE(0), 0);
    expect(credited).toBe(2);
  });

  test("a function that wants no stream is called with the whole body", async () => {
    using folder = folderOf({ [entrypoint]: whole });
    await using client = await start({ contract: "handler", directory: folder.path, entrypoint });
    let credited = 0;
    client.onStream = (_kind, _id, payload) => {
      credited += payload.readUInt32LE(0);
    };
    const { id, answer } = client.startRequest({ method: "POST", bodyFollows: true });
    for (let round = 1; round <= 6; round++) {
      client.send(BODY, id, `${round}`.repeat(1000));
      await expect.poll(() => credited).toBe(round);
    }
    client.send(BODY_END, id, "");
    const { result } = await answer;
    expect(result?.subarray(4 + (result?.readUInt32LE(0) ?? 0)).toString()).toBe(
      [1, 2, 3, 4, 5, 6].map((round) => `${round}`.repeat(1000)).join(""),
    );
  });

  test("fields of log entries follow their text", async () => {
    using folder = folderOf({ [entrypoint]: streams });
    await using client = await start({ contract: "handler", directory: folder.path, entrypoint });
    const { logs } = await client.request({ url: "/log" });
    expect(logs.map(({ level, flags, text }) => ({ level, flags, ...splitLogFields(text) }))).toEqual([
      { level: 2, flags: 2, text: "careful", fields: { a: { b: "\u001e" } } },
      { level: 1, flags: 0, text: "plain", fields: null },
    ]);
  });

  test("a script is called as handle with data", async (context) => {
    if (script === null) return context.skip("it has no scripts");
    using folder = folderOf({ [entrypoint]: script });
    await using client = await start({ contract: "script", directory: folder.path, entrypoint });
    const data = { payload: "text", variables: { a: 1 }, meta: {}, flow: { variables: {} } };
    const answer = await client.call("handle", { data });
    expect(JSON.parse(String(answer.result))).toEqual({ ...data, payload: "text!", response_code: 3, logs: ["seen", "1"] });
    expect(answer.logs.map(({ text }) => text)).toEqual(["seen", "1"]);
    expect((await client.call("handle", { data: { ...data, payload: "throw" } })).error).toMatchObject({
      code: "THREW",
      message: "bad data",
    });
    expect((await client.call("handle", { data: { ...data, payload: "shape" } })).error?.message).toMatch(/payload .* must be/);
  });
});
