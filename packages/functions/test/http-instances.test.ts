import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Execution, HandlerRequest, ResponseSink } from "../src/index.ts";
import { Workbench } from "./files/workbench.ts";

let bench: Workbench;
beforeAll(async () => {
  bench = await Workbench.set({ transport: "http" });
}, 60_000);
afterAll(() => bench[Symbol.asyncDispose]());

const LANGUAGES = ["node", "python"] as const;

/** The same handler in both languages: what it does is told by the path. */
const HANDLER = {
  node: `let count = 0;
module.exports = async ({ req, res, log, error }) => {
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  switch (req.path) {
    case "/echo": return res.json({ method: req.method, url: req.url, path: req.path, query: req.query, headers: req.headers, body: req.bodyText }, 201, { "X-One": "1", "set-cookie": ["a=1", "b=2"] });
    case "/log": for (let i = 0; i < 20; i++) { log(req.query.n + " " + i); if (i % 5 === 0) await sleep(2); } return res.text(req.query.n);
    case "/throw": log("before"); throw new TypeError("no such luck");
    case "/sleep": await sleep(Number(req.query.ms)); return res.text("slept");
    case "/block": for (;;);
    case "/exit": process.exit(7);
    case "/memory": { const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1)); }
    case "/large": return res.text("x".repeat(3000000));
    case "/bytes": return res.binary(Buffer.from(req.bodyBinary).reverse());
    case "/count": return res.text(String(++count));
    case "/503": return res.text("", 503);
  }
  return res.empty();
};`,
  python: `import asyncio, os
count = 0
async def main(context):
    global count
    req, res = context.req, context.res
    if req.path == "/echo": return res.json({"method": req.method, "url": req.url, "path": req.path, "query": req.query, "headers": req.headers, "body": req.body_text}, 201, {"X-One": "1", "set-cookie": ["a=1", "b=2"]})
    if req.path == "/log":
        for i in range(20):
            context.log(req.query["n"] + " " + str(i))
            if i % 5 == 0: await asyncio.sleep(0.002)
        return res.text(req.query["n"])
    if req.path == "/throw":
        context.log("before"); raise TypeError("no such luck")
    if req.path == "/sleep":
        await asyncio.sleep(int(req.query["ms"]) / 1000); return res.text("slept")
    if req.path == "/block":
        while True: pass
    if req.path == "/exit": os._exit(7)
    if req.path == "/memory":
        all = []
        while True: all.append(bytearray(1 << 20))
    if req.path == "/large": return res.text("x" * 3000000)
    if req.path == "/bytes": return res.binary(req.body_binary[::-1])
    if req.path == "/count":
        count += 1
        return res.text(str(count))
    if req.path == "/503": return res.text("", 503)
    return res.empty()`,
};

interface Called {
  readonly execution: Execution;
  readonly status: number;
  readonly headers: [string, string][];
  readonly text: string;
}

function request(url: string, more: Partial<HandlerRequest> = {}): HandlerRequest {
  return { method: "POST", url, headers: { host: "there" }, body: new Uint8Array(), ...more };
}

async function call(
  name: string,
  asked: HandlerRequest,
  sink?: ResponseSink,
  onStart?: (execution: Execution) => void,
): Promise<Execution> {
  return bench.functions.call({
    workspace: "http",
    function: name,
    input: { kind: "handler", request: asked, ...(sink === undefined ? {} : { sink }) },
    ...(onStart === undefined ? {} : { onStart }),
  });
}

async function answered(name: string, asked: HandlerRequest): Promise<Called> {
  const execution = await call(name, asked);
  const { outcome } = execution;
  if (outcome?.state !== "responded") throw new Error(`${name} ${asked.url}: ${JSON.stringify(outcome)}`);
  const { statusCode, headers } = JSON.parse(outcome.head);
  return { execution, status: statusCode, headers, text: String(outcome.body) };
}

async function failure(name: string, asked: HandlerRequest) {
  const execution = await call(name, asked);
  const { outcome } = execution;
  if (outcome === null || !("error" in outcome)) throw new Error(`${asked.url} did not fail: ${JSON.stringify(outcome)}`);
  return {
    state: outcome.state,
    code: outcome.error.code,
    message: outcome.error.message,
    details: outcome.error.details,
    execution,
  };
}

const lines = (execution: Execution) => execution.log.entries.map(({ message }) => message);
const instances = (name: string) => bench.functions.instances().filter(({ program }) => program === `${name}()`);

describe.each(LANGUAGES)("%s over HTTP", (language) => {
  beforeAll(() => bench.save("http", { [language]: { handler: HANDLER[language], language, timeoutMs: 2_000 } }), 60_000);

  test("method, address, headers and body arrive, and status, headers and body come back", async () => {
    const asked = request("/echo?a=b&c==d&k", {
      method: "PATCH",
      headers: {
        host: "there:81",
        "X-Given": "value",
        connection: "x-given, close",
        "x-open-runtimes-secret": "guess",
        te: "trailers",
      },
      body: Buffer.from("the body"),
    });
    const { status, headers, text } = await answered(language, asked);
    expect(status).toBe(201);
    expect(headers.filter(([name]) => name === "set-cookie")).toEqual([
      ["set-cookie", "a=1"],
      ["set-cookie", "b=2"],
    ]);
    expect(headers).toContainEqual(["x-one", "1"]);
    expect(headers.some(([name]) => name.startsWith("x-open-runtimes"))).toBe(false);
    const seen = JSON.parse(text);
    expect(seen).toMatchObject({ method: "PATCH", path: "/echo", query: { a: "b", c: "=d", k: "" }, body: "the body" });
    expect(seen.headers).toMatchObject({ host: "there:81", "x-given": "value", "content-length": "8" });
    expect(Object.keys(seen.headers).filter((name) => /^x-open-runtimes|^te$/.test(name))).toEqual([]);
  });

  test("of concurrent calls each gets its own log, none lost, in order", async () => {
    const numbers = Array.from({ length: 30 }, (_, index) => String(index));
    const all = await Promise.all(numbers.map((n) => answered(language, request(`/log?n=${n}`))));
    for (const [index, { text, execution }] of all.entries()) {
      expect(text).toBe(numbers[index]);
      expect(lines(execution)).toEqual(Array.from({ length: 20 }, (_, line) => `${index} ${line}`));
    }
  });

  test("a throw fails the execution, with name, message and the log before it", async () => {
    const { state, code, message, execution } = await failure(language, request("/throw"));
    expect([state, code, message]).toEqual(["failed", "THREW", "TypeError: no such luck"]);
    expect(lines(execution)[0]).toBe("before");
    expect(lines(execution).join("\n")).toContain("no such luck");
  });

  test("an empty 503 of the function's own is an answer", async () => {
    expect(await answered(language, request("/503"))).toMatchObject({ status: 503, text: "" });
  });

  test("bytes pass unchanged, whole and streamed", async () => {
    const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, index) => (index * 7) % 256));
    const expected = Buffer.from(bytes).reverse();
    const whole = await call(language, request("/bytes", { body: bytes }));
    expect(whole.outcome).toMatchObject({ state: "responded" });
    expect((whole.outcome as { body: Buffer }).body.equals(expected)).toBe(true);
    const pieces: Buffer[] = [];
    const heads: string[] = [];
    const sink = { begin: (head: string) => void heads.push(head), write: (piece: Buffer) => pieces.push(piece) > 0 };
    const body = Readable.from([bytes.subarray(0, 10), bytes.subarray(10, 66_000), bytes.subarray(66_000)]);
    const streamed = await call(language, request("/bytes", { body }), sink);
    expect(streamed.outcome).toMatchObject({ state: "responded", body: null });
    expect(heads).toHaveLength(1);
    expect(Buffer.concat(pieces).equals(expected)).toBe(true);
  });

  test("a response beyond the limit of results is refused where nobody streams it, and the instance goes on", async () => {
    const before = instances(language)[0]?.id;
    const { code, details } = await failure(language, request("/large"));
    expect([code, details]).toMatchObject(["RESULT_TOO_LARGE", { limitBytes: 1024 * 1024 }]);
    expect((await answered(language, request("/count"))).status).toBe(200);
    expect(instances(language)[0]?.id).toBe(before);
  });

  test("a time limit is kept by the host; others in flight go on", async () => {
    await answered(language, request("/count"));
    const started = performance.now();
    const [late, other] = await Promise.all([
      failure(language, request("/sleep?ms=10000")),
      answered(language, request("/sleep?ms=1500")),
    ]);
    expect([late.state, late.code]).toEqual(["timed_out", "TIMED_OUT"]);
    expect(other.text).toBe("slept");
    expect(performance.now() - started).toBeLessThan(4_000);
    expect((await answered(language, request("/count"))).text).toBe("1");
  });

  test("after a time limit another instance is there before anybody calls", async () => {
    await answered(language, request("/count"));
    const before = instances(language).map(({ id }) => id);
    const { code } = await failure(language, request("/sleep?ms=10000"));
    expect(code).toBe("TIMED_OUT");
    await expect.poll(() => instances(language).filter(({ id }) => !before.includes(id)).length, { timeout: 10_000 }).toBe(1);
    expect((await answered(language, request("/count"))).text).toBe("1");
  });

  test("code that does not let go is killed, and the next call is served", async () => {
    const { code } = await failure(language, request("/block"));
    expect(code).toBe("TIMED_OUT");
    expect((await answered(language, request("/count"))).status).toBe(200);
  });

  test("exits and memory are told apart", async () => {
    const exit = await failure(language, request("/exit"));
    expect([exit.code, exit.details]).toMatchObject(["CRASHED", { exitCode: 7 }]);
    const memory = await failure(language, request("/memory"));
    expect(memory.code).toBe("OUT_OF_MEMORY");
  });

  test("a call can be cancelled while it waits and while it runs, and its instance stays", async () => {
    await answered(language, request("/count"));
    const before = instances(language)[0]?.id;
    const started = performance.now();
    const execution = await call(language, request("/sleep?ms=1900"), undefined, (each) =>
      setTimeout(() => each.cancel("a test."), 100),
    );
    expect([execution.state, execution.error?.code]).toEqual(["cancelled", "CANCELLED"]);
    expect(performance.now() - started).toBeLessThan(1_000);
    expect((await answered(language, request("/count"))).status).toBe(200);
    expect(instances(language)[0]?.id).toBe(before);
    const waiting = await call(language, request("/count"), undefined, (each) => each.cancel("a test."));
    expect(waiting.error?.code).toBe("CANCELLED");
  });
});

test("what does not load fails with the reason, each time", async () => {
  await bench.save("http", {
    syntax: { handler: "module.exports = (((" },
    throws: { handler: "throw new RangeError('not today')" },
    nothing: { handler: "module.exports = 5" },
    pythonThrows: { handler: "raise ValueError('not today')", language: "python" },
  });
  for (const [name, reason] of [
    ["syntax", /SyntaxError|Unexpected/],
    ["throws", /not today/],
    ["nothing", /export/],
    ["pythonThrows", /not today/],
  ] as const) {
    for (let time = 0; time < 2; time++) {
      const { code, message } = await failure(name, request("/"));
      expect([code, message]).toEqual(["LOAD_FAILED", expect.stringMatching(reason)]);
    }
  }
});

test("code that has not loaded keeps no call waiting, and is not called", async () => {
  const slow = "import time\ntime.sleep(1.5)\nasync def main(context): return context.res.text('late')";
  const started = performance.now();
  await bench.save("http", { slow: { handler: slow, language: "python", timeoutMs: 1_000 } });
  expect(performance.now() - started).toBeGreaterThan(1_400);
  expect((await answered("slow", request("/"))).text).toBe("late");
});

test("code that ends its process while it is loaded cannot be saved", async () => {
  const handler = "process.exit(9)";
  await expect(bench.save("http", { ends: { handler } })).rejects.toMatchObject({ code: "CRASHED", details: { exitCode: 9 } });
});

test("secrets are masked in why code did not load", async () => {
  await bench.functions.variables.setSecret("http", null, "KEY", "of-the-workspace");
  await bench.functions.save("http", {
    mode: "merge",
    functions: [
      {
        name: "telling",
        language: "node",
        files: [{ path: "index.js", content: Buffer.from("throw new Error('the key is ' + process.env.KEY)") }],
        settings: { secrets: ["KEY"] },
      },
    ],
  });
  const { code, message, details } = await failure("telling", request("/"));
  expect([code, message]).toEqual(["LOAD_FAILED", expect.stringContaining("the key is ")]);
  expect(JSON.stringify([message, details])).not.toContain("of-the-workspace");
});

test("the secret of the server and the sandbox's socket are not in the environment of user code", async () => {
  await bench.save("http", { environment: { handler: "module.exports = ({ res }) => res.json(process.env)" } });
  const { text } = await answered("environment", request("/"));
  expect(Object.keys(JSON.parse(text))).not.toContain("OPEN_RUNTIMES_SECRET");
});

test("a body that breaks off cancels the call", async () => {
  const body = new Readable({ read() {} });
  body.push("a part");
  setTimeout(() => body.destroy(), 100);
  const execution = await call("node", request("/bytes", { body }));
  expect(["CANCELLED", "INVALID_RESPONSE"]).toContain(execution.error?.code);
  expect((await answered("node", request("/count"))).status).toBe(200);
});

test("idle instances leave no process, no folder and no warning behind", async () => {
  await bench.save("http", { gone: { handler: "module.exports = ({ res }) => res.text('x')" } });
  await answered("gone", request("/"));
  const [instance] = instances("gone");
  expect(instance).toBeDefined();
  await bench.functions.save("http", { mode: "merge", functions: [], remove: ["gone"] });
  for (let turn = 0; turn < 100 && instances("gone").length > 0; turn++) await sleep(20);
  expect(instances("gone")).toEqual([]);
  expect(bench.warnings).toEqual([]);
});
