import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Execution } from "../src/index.ts";
import { Workbench } from "./files/workbench.ts";

/**
 * User code that gets hold of the server it runs in: all sockets of its process are its, and so is the real stdout. What it does to others is what
 * counts: the host and the executions of other instances must not notice; its own may fail.
 */
const GRIP = `const net = require("node:net"), fs = require("node:fs"), http = require("node:http");
const handles = () => process._getActiveHandles();
/** Connections of the host to this server. */
const connections = () => handles().filter((each) => each instanceof net.Socket && each.server !== undefined && each.server !== null);
const servers = () => handles().filter((each) => each instanceof net.Server);
const raw = (text) => { for (const each of connections()) each._handle !== null && fs.writeSync(each._handle.fd, text); };
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const never = new Promise(() => {});
`;

const ATTEMPTS: Readonly<Record<string, string>> = {
  malformed: `raw("this is no HTTP at all\\r\\n\\r\\n"); await never;`,
  binary: `raw(Buffer.alloc(100000, 0)); await never;`,
  endlessHeader: `for (;;) { try { raw("HTTP/1.1 200 OK\\r\\nX: " + "x".repeat(10000)); } catch { await never; } await sleep(1); }`,
  endlessHeaders: `raw("HTTP/1.1 200 OK\\r\\n"); for (let n = 0; ; n++) { try { raw("X-" + n + ": y\\r\\n".repeat(100)); } catch { await never; } await sleep(0); }`,
  endlessInterim: `for (;;) { try { raw("HTTP/1.1 103 Early Hints\\r\\nX: y\\r\\n\\r\\n".repeat(100)); } catch { await never; } await sleep(1); }`,
  upgrade: `raw("HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: x\\r\\n\\r\\n"); await never;`,
  continued: `raw("HTTP/1.1 100 Continue\\r\\n\\r\\n"); await never;`,
  impossible: `raw("HTTP/1.1 999 What\\r\\nContent-Length: 0\\r\\n\\r\\n"); await never;`,
  zero: `raw("HTTP/1.1 000 What\\r\\nContent-Length: 0\\r\\n\\r\\n"); await never;`,
  twoLengths: `raw("HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\nContent-Length: 6\\r\\n\\r\\nabcdef"); await never;`,
  lengthAndChunks: `raw("HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n"); await never;`,
  badChunks: `raw("HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\nzz\\r\\nabc"); await never;`,
  endlessBody: `raw("HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n"); for (;;) { try { raw("2710\\r\\n" + "x".repeat(10000) + "\\r\\n"); } catch { await never; } await sleep(0); }`,
  short: `raw("HTTP/1.1 200 OK\\r\\nContent-Length: 100\\r\\n\\r\\nabc"); for (const each of connections()) each.destroy(); await never;`,
  hangUp: `for (const each of connections()) each.destroy(); await never;`,
  reset: `for (const each of connections()) each.end(); await never;`,
  noAnswer: `await never;`,
  headerInjection: `raw("HTTP/1.1 200 OK\\r\\nX: a\\rSet-Cookie: b\\r\\nContent-Length: 0\\r\\n\\r\\n"); await never;`,
  nulHeader: `raw("HTTP/1.1 200 OK\\r\\nX: a\\0b\\r\\nContent-Length: 0\\r\\n\\r\\n"); await never;`,
  folded: `raw("HTTP/1.1 200 OK\\r\\nX: a\\r\\n b\\r\\nContent-Length: 0\\r\\n\\r\\n"); await never;`,
  socketGone: `fs.unlinkSync("/tmp/http.sock"); for (const each of connections()) each.destroy(); await never;`,
  socketFile: `fs.unlinkSync("/tmp/http.sock"); fs.writeFileSync("/tmp/http.sock", "x"); for (const each of connections()) each.destroy(); await never;`,
};

let bench: Workbench;
beforeAll(async () => {
  bench = await Workbench.set({ transport: "http", settings: { resultBytes: 1024 * 1024 } });
  await bench.save("other", {
    calm: { handler: "let n = 0; module.exports = ({ res, log }) => { log('calm'); return res.text(String(++n)); };" },
  });
}, 60_000);
afterAll(() => bench[Symbol.asyncDispose]());

function call(workspace: string, name: string, path = "/", method = "POST"): Promise<Execution> {
  const request = { method, url: path, headers: { host: "there" }, body: new Uint8Array() };
  return bench.functions.call({ workspace, function: name, input: { kind: "handler", request } });
}

function bodyOf({ outcome }: Execution): string {
  return outcome?.state === "responded"
    ? String(outcome.body)
    : `${outcome?.state} ${(outcome as { error?: Error }).error?.message}`;
}

const lines = (execution: Execution) => execution.log.entries.map(({ message }) => message);

test.each(Object.entries(ATTEMPTS))("%s: only the call itself fails", async (name, code) => {
  const handler = `${GRIP}module.exports = async ({ req, res }) => { if (req.path === "/again") return res.text("again"); ${code} };`;
  await bench.save("bad", { [name]: { handler, timeoutMs: 1_500 } });
  const [bad, calm] = await Promise.all([call("bad", name), call("other", "calm")]);
  expect(calm.outcome?.state).toBe("responded");
  expect([name, bad.outcome?.state]).not.toEqual([name, null]);
  if (bad.outcome?.state === "responded") {
    // Whatever was taken for an answer is one that can be told from others: the server checks it once more before it passes it on.
    expect(JSON.parse(bad.outcome.head)).toMatchObject({ statusCode: expect.any(Number) });
  } else
    expect(["INVALID_RESPONSE", "TIMED_OUT", "RESULT_TOO_LARGE", "CRASHED", "OUT_OF_MEMORY", "INTERRUPTED"]).toContain(
      bad.error?.code,
    );
  // The function is not lost: what spoils its instance spoils no more than a call or two before another takes its place.
  await expect.poll(async () => bodyOf(await call("bad", name, "/again")), { timeout: 10_000, interval: 10 }).toBe("again");
});

test("a second answer behind the first one is not taken for the answer of the next call", async () => {
  const handler = `${GRIP}module.exports = async ({ req, res }) => {
  if (req.path === "/plant") { setTimeout(() => raw("HTTP/1.1 200 OK\\r\\nContent-Length: 7\\r\\n\\r\\nplanted"), 20); return res.text("first"); }
  return res.text("own " + req.path);
};`;
  await bench.save("bad", { plants: { handler } });
  expect(bodyOf(await call("bad", "plants", "/plant"))).toBe("first");
  await new Promise((resolve) => setTimeout(resolve, 100));
  for (const path of ["/a", "/b", "/c"]) expect(bodyOf(await call("bad", "plants", path))).toBe(`own ${path}`);
});

test("log lines that name other executions reach none of them", async () => {
  const handler = `${GRIP}const { spawnSync } = require("node:child_process");
const ids = [];
const print = (text) => { for (let at = 0; at < text.length; ) { try { at += fs.writeSync(1, text.slice(at, at + 60000)); } catch (error) { if (error.code !== "EAGAIN") throw error; } } };
const line = (id, text) => print(JSON.stringify({ id, level: "error", text }) + "\\n");
module.exports = async ({ req, res, log }) => {
  if (req.path === "/victim") { log("mine"); await sleep(400); return res.text("x"); }
  await sleep(100);
  for (const id of [req.query.id, "131072-x", "2t4w-00000000-0000-0000-0000-000000000000", "", "-", "NaN-", "__proto__", "constructor-", "x".repeat(100000)]) line(id, "forged");
  print('{"id":null,"level":"error","text":"forged too"}\\n{"id":5,"level":"error","text":"wrong"}\\n{"level":"fatal","text":"x"}\\n{"id"\\n' + "[".repeat(100000) + "\\n");
  print('{"id":null,"level":"info","text":"deep","fields":{"a":' + "[".repeat(50000) + "]".repeat(50000) + "}}\\n");
  return res.text("done");
};`;
  await bench.save("bad", { forger: { handler } });
  const victim = call("bad", "forger", "/victim");
  const other = call("other", "calm");
  const id = (await other).id;
  const [mine, forger] = await Promise.all([victim, call("bad", "forger", `/forge?id=${id}`)]);
  expect(lines(mine)).toEqual(["mine"]);
  expect(lines(await other)).toEqual(["calm"]);
  expect(bodyOf(forger)).toBe("done");
});

test("a flood of log lines is bounded, and does not slow others down", async () => {
  const handler = `const fs = require("node:fs");
module.exports = async ({ res }) => { const line = "x".repeat(1 << 20); const end = Date.now() + 1000; while (Date.now() < end) fs.writeSync(1, line); fs.writeSync(1, "\\n"); return res.text("flooded"); };`;
  await bench.save("bad", { flood: { handler, timeoutMs: 20_000 } });
  await call("other", "calm");
  const flooding = call("bad", "flood");
  let slowest = 0;
  for (let turn = 0; turn < 20; turn++) {
    const start = performance.now();
    expect((await call("other", "calm")).outcome?.state).toBe("responded");
    slowest = Math.max(slowest, performance.now() - start);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const flood = await flooding;
  expect(["responded", "failed", "timed_out"]).toContain(flood.outcome?.state);
  expect(JSON.stringify(flood.log.entries).length).toBeLessThan(2 * 1024 * 1024);
  expect(slowest).toBeLessThan(1_000);
});

test("a socket that is replaced by a link to a socket of the host leads nowhere", async () => {
  const directory = await mkdtemp(join(tmpdir(), "ts-"));
  let connections = 0;
  const bait = createServer((socket) => {
    connections += 1;
    socket.end("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbait");
  });
  await new Promise<void>((resolve) => bait.listen(join(directory, "host.sock"), resolve));
  try {
    const handler = `${GRIP}module.exports = async ({ req, res }) => {
  if (req.path === "/swap") { fs.unlinkSync("/tmp/http.sock"); fs.symlinkSync(${JSON.stringify(join(directory, "host.sock"))}, "/tmp/http.sock"); setTimeout(() => { for (const each of connections()) each.destroy(); }, 10); return res.text("swapped"); }
  return res.text("own");
};`;
    await bench.save("bad", { swaps: { handler } });
    expect(bodyOf(await call("bad", "swaps", "/swap"))).toBe("swapped");
    await new Promise((resolve) => setTimeout(resolve, 100));
    const after = await Promise.all([call("bad", "swaps"), call("bad", "swaps")]);
    for (const execution of after) expect(bodyOf(execution)).not.toContain("bait");
    expect(bodyOf(await call("bad", "swaps"))).toBe("own");
    expect(connections).toBe(0);
  } finally {
    bait.close();
    await rm(directory, { recursive: true, force: true });
  }
});

test.each([
  ["ends", "", "CRASHED"],
  ["stays", "setInterval(() => {}, 1_000);", "LOAD_FAILED"],
])("a server that says it is ready, listens no more and %s is not taken", async (_what, rest, code) => {
  const handler = `${GRIP}for (const each of servers()) each.close(); fs.rmSync("/tmp/http.sock", { force: true }); ${rest} module.exports = ({ res }) => res.text("x");`;
  await expect(bench.save("bad", { deaf: { handler } })).rejects.toMatchObject({ code });
  expect((await call("other", "calm")).outcome?.state).toBe("responded");
  await expect.poll(() => bench.functions.instances().filter(({ program }) => program === "deaf()")).toEqual([]);
});

test("why code did not load is bounded, whatever it says", async () => {
  const handler = "throw new Error('long '.repeat(200_000));";
  await bench.save("bad", { wordy: { handler } });
  const { error } = await call("bad", "wordy");
  expect(error?.code).toBe("LOAD_FAILED");
  expect(error?.message).toContain("long long");
  expect(error?.message.length).toBeLessThan(20_000);
});

test("the host met no defect of its own", () => {
  expect(bench.warnings).toEqual([]);
});
