import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { sharedServer } from "../harness/shared-server.ts";

const TIMEOUT_MS = 2_500;
const server = sharedServer({
  flags: {
    "run-timeout": String(TIMEOUT_MS),
    "python-run-timeout": String(TIMEOUT_MS),
    "node-builtin-modules": "*",
  },
  prepare: () => server.save("victim", { node: { code: SLOW_NODE }, python: { language: "python", code: SLOW_PYTHON } }),
});
const SLOW_NODE = 'console.log("mine"); await new Promise((done) => setTimeout(done, 800)); return "true result"';
const SLOW_PYTHON = 'import asyncio\nprint("mine")\nawait asyncio.sleep(0.8)\nreturn "true result"';

const NODE_HEAD = `const fs = process.getBuiltinModule("fs");
const bytes = (value) => (typeof value === "string" ? Buffer.from(value) : value);
const frame = (kind, id, payload) => { const body = bytes(payload); const head = Buffer.alloc(9); head.writeUInt32LE(body.length + 5, 0); head[4] = kind; head.writeUInt32LE(id, 5); return Buffer.concat([head, body]) };
const send = (data) => { for (let at = 0; at < data.length; ) { try { at += fs.writeSync(3, data, at) } catch (error) { if (error.code !== "EAGAIN") throw error } } };
const log = (text) => Buffer.concat([Buffer.from([1, 0]), Buffer.from(new Float64Array([Date.now()]).buffer), bytes(text)]);
const file = (id, transfer, what, payload) => { const head = Buffer.alloc(5); head.writeUInt32LE(transfer); head[4] = what; return frame(0x88, id, Buffer.concat([head, bytes(payload)])) };
const ids = []; for (let generation = 1; generation < 40; generation++) for (let slot = 0; slot < 8; slot++) ids.push(((generation << 17) | slot) >>> 0);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
`;
const PYTHON_HEAD = `import os, struct, time
def data_of(value):
    return value.encode() if isinstance(value, str) else value
def frame(kind, id, payload):
    body = data_of(payload)
    return struct.pack("<IBI", len(body) + 5, kind, id) + body
def send(data):
    while data:
        data = data[os.write(3, data):]
def log(text):
    return struct.pack("<BBd", 1, 0, time.time() * 1000) + data_of(text)
def file(id, transfer, what, payload):
    return frame(0x88, id, struct.pack("<IB", transfer, what) + data_of(payload))
ids = [generation << 17 | slot for generation in range(1, 40) for slot in range(8)]
sleep = time.sleep
`;

interface Forgery {
  readonly name: string;
  readonly node: string;
  readonly python: string;
  /** What may become of the forger's own call: codes, "" for success. */
  readonly ends: readonly string[];
}

const END = ["", "INVALID_RESPONSE", "INTERRUPTED", "CRASHED", "TIMED_OUT"];
/** Of what breaks the channel's rules: the process is ended. */
const KILLED = ["INVALID_RESPONSE", "INTERRUPTED", "CRASHED"];

const FORGERIES: readonly Forgery[] = [
  {
    name: "results for every number",
    node: 'for (const id of ids) send(frame(0x83, id, \'"forged"\')); await sleep(200); return "own"',
    python: "for id in ids:\n    send(frame(0x83, id, '\"forged\"'))\nsleep(0.2)\nreturn 'own'",
    ends: END,
  },
  {
    name: "errors with codes of the host",
    node: 'for (const id of ids) send(frame(0x84, id, JSON.stringify({ code: "UNAUTHORIZED", message: "forged" }))); await sleep(200); return "own"',
    python:
      'for id in ids:\n    send(frame(0x84, id, \'{"code":"UNAUTHORIZED","message":"forged"}\'))\nsleep(0.2)\nreturn \'own\'',
    ends: [...END, "THREW"],
  },
  {
    name: "log lines for every number",
    node: 'for (const id of ids) send(frame(0x85, id, log("forged"))); await sleep(200); return "own"',
    python: "for id in ids:\n    send(frame(0x85, id, log('forged')))\nsleep(0.2)\nreturn 'own'",
    ends: END,
  },
  {
    name: "cancellations and reports for every number",
    node: 'for (const id of ids) { send(frame(0x87, id, "null")); send(frame(0x87, id, \'{"running":true}\')); send(frame(0x82, id, \'{"errors":{"f":{"code":"THREW","message":"forged"}},"imports":{}}\')); send(frame(0x81, id, "{}")); } await sleep(200); return "own"',
    python:
      "for id in ids:\n    send(frame(0x87, id, 'null') + frame(0x87, id, '{\"running\":true}') + frame(0x82, id, '{\"errors\":{},\"imports\":{}}'))\nsleep(0.2)\nreturn 'own'",
    ends: END,
  },
  {
    name: "a frame of 4 GB",
    node: "send(Buffer.from([0xff, 0xff, 0xff, 0xff, 0x83, 0, 0, 0, 0])); await sleep(500); return 1",
    python: 'send(b"\\xff\\xff\\xff\\xff\\x83\\0\\0\\0\\0")\nsleep(0.5)\nreturn 1',
    ends: KILLED,
  },
  {
    name: "a frame of no length",
    node: "send(Buffer.alloc(64)); await sleep(500); return 1",
    python: "send(bytes(64))\nsleep(0.5)\nreturn 1",
    ends: KILLED,
  },
  {
    name: "a frame of 60 MB that never comes whole",
    node: "const head = Buffer.alloc(9); head.writeUInt32LE(60 << 20, 0); head[4] = 0x83; send(head); send(Buffer.alloc(20 << 20, 120)); await sleep(500); return 1",
    python: 'send(struct.pack("<IBI", 60 << 20, 0x83, 1) + b"x" * (20 << 20))\nsleep(0.5)\nreturn 1',
    ends: [...END, "OUT_OF_MEMORY"],
  },
  {
    name: "kinds that are none",
    node: 'for (let kind = 0; kind < 256; kind++) send(frame(kind, ids[0], "x")); await sleep(500); return 1',
    python: "for kind in range(256):\n    send(frame(kind, ids[0], 'x'))\nsleep(0.5)\nreturn 1",
    ends: KILLED,
  },
  {
    name: "random bytes",
    node: 'send(process.getBuiltinModule("crypto").randomBytes(1 << 20)); await sleep(500); return 1',
    python: "send(os.urandom(1 << 20))\nsleep(0.5)\nreturn 1",
    ends: KILLED,
  },
  {
    name: "a flood of 300,000 frames",
    node: 'const many = Buffer.concat(Array.from({ length: 1000 }, () => frame(0x85, 5, log("flood")))); for (let i = 0; i < 300; i++) send(many); await sleep(200); return 1',
    python: "many = frame(0x85, 5, log('flood')) * 1000\nfor i in range(300):\n    send(many)\nsleep(0.2)\nreturn 1",
    ends: KILLED,
  },
  {
    name: "malformed log lines",
    node: 'for (const id of [0, ...ids]) { send(frame(0x85, id, Buffer.from([9, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0xff, 0xfe, 0xc0]))); } send(frame(0x85, ids[0], "short")); await sleep(200); return 1',
    python:
      "for id in [0] + ids:\n    send(frame(0x85, id, b'\\x09' + b'\\xff' * 9 + b'\\xff\\xfe\\xc0'))\nsend(frame(0x85, ids[0], 'short'))\nsleep(0.2)\nreturn 1",
    ends: KILLED,
  },
  {
    name: "bytes of files nobody asked for",
    node: 'for (const id of ids) send(file(id, 7, 2, "x")); await sleep(500); return 1',
    python: "for id in ids:\n    send(file(id, 7, 2, 'x'))\nsleep(0.5)\nreturn 1",
    ends: KILLED,
  },
  {
    name: "bytes of a file without leave",
    node: 'for (const id of ids) send(Buffer.concat([file(id, 7, 1, \'{"name":"forged"}\'), ...Array(20).fill(file(id, 7, 2, Buffer.alloc(1 << 14)))])); await sleep(500); return 1',
    python:
      'for id in ids:\n    send(file(id, 7, 1, \'{"name":"forged"}\') + file(id, 7, 2, bytes(1 << 14)) * 20)\nsleep(0.5)\nreturn 1',
    ends: KILLED,
  },
  {
    name: "a chunk of a file longer than chunks are",
    node: "for (const id of ids) send(file(id, 7, 2, Buffer.alloc((1 << 18) + 1))); await sleep(500); return 1",
    python: "for id in ids:\n    send(file(id, 7, 2, bytes((1 << 18) + 1)))\nsleep(0.5)\nreturn 1",
    ends: KILLED,
  },
  ...[
    ["no number of a transfer", "xx"],
    ["no operation", "xxxx"],
    ["an unknown operation", "xxxx\\x09"],
    ["a request that is no JSON", "xxxx\\x01{"],
    ["a request that is no object", "xxxx\\x01[1]"],
    ["an end with something behind it", "xxxx\\x03x"],
  ].map(([what, payload]) => ({
    name: `a file frame with ${what}`,
    node: `for (const id of ids) send(frame(0x88, id, "${payload}")); await sleep(500); return 1`,
    python: `for id in ids:\n    send(frame(0x88, id, "${payload}"))\nsleep(0.5)\nreturn 1`,
    ends: KILLED,
  })),
  {
    name: "the number of a file twice",
    node: 'for (const id of ids) send(Buffer.concat([file(id, 7, 5, "{}"), file(id, 7, 1, "{}")])); await sleep(500); return 1',
    python: "for id in ids:\n    send(file(id, 7, 5, '{}') + file(id, 7, 1, '{}'))\nsleep(0.5)\nreturn 1",
    ends: KILLED,
  },
  {
    name: "files with names, types and sizes that are none",
    node: 'let n = 100; for (const request of [{}, { name: 1 }, { name: null }, { name: "a", mimeType: {} }, { name: "a", size: "x", description: [] }, { name: "__proto__", size: -1 }, { __proto__: { name: "x" } }, { id: {} }, { id: "x".repeat(60000) }]) for (const id of ids) { n++; send(file(id, n, 1, JSON.stringify(request))); send(file(id, ++n, 5, JSON.stringify(request))); send(file(id, n, 4, "")) } await sleep(500); return 1',
    python:
      "import json\nn = 100\nfor request in [{}, {'name': 1}, {'name': None}, {'name': 'a', 'mimeType': {}}, {'name': 'a', 'size': 'x', 'description': []}, {'name': '__proto__', 'size': -1}, {'id': {}}, {'id': 'x' * 60000}]:\n    for id in ids:\n        n += 2\n        send(file(id, n, 1, json.dumps(request)) + file(id, n + 1, 5, json.dumps(request)) + file(id, n + 1, 4, ''))\nsleep(0.5)\nreturn 1",
    ends: END,
  },
  {
    name: "a flood of 50,000 files",
    node: 'for (const id of ids.slice(0, 64)) for (let n = 1; n < 800; n++) send(file(id, n, 5, \'{"id":"x"}\')); await sleep(500); return 1',
    python: 'for n in range(1, 50000):\n    send(file(ids[0], n, 5, \'{"id":"x"}\'))\nsleep(0.5)\nreturn 1',
    ends: [...END, ...KILLED],
  },
];

const runs = FORGERIES.flatMap((each) =>
  (["node", "python"] as const).map((language) => ({ ...each, language, code: each[language] })),
);

test.each(runs)(
  "$name, written to the channel by $language, reach nobody else's call",
  async ({ name, language, code, ends }) => {
    const workspace = `forge-${language}-${name.replaceAll(/[^a-z0-9]+/gi, "-")}`;
    const source = language === "node" ? { code: NODE_HEAD + code } : { language: "python" as const, code: PYTHON_HEAD + code };
    await server.save(workspace, { f: source, fine: { ...source, code: "return 'fine'" } });
    const victims = ["node", "python"].map((victim) => server.run("victim", victim));
    const answer = await server.run(workspace, "f");
    expect(ends, answer.text.slice(0, 500)).toContain(answer.json.error?.code ?? "");
    expect(answer.status).not.toBe(401);
    for (const victim of await Promise.all(victims)) expect(victim.json).toMatchObject({ result: "true result", logs: ["mine"] });
    await expect.poll(async () => (await server.run(workspace, "fine")).json.result, { timeout: 8_000 }).toBe("fine");
    await server.send("DELETE", `/v2/functions/${workspace}`);
  },
);

/** Payloads of a RESULT for the forger's own execution, and what may be made of them. */
const PAYLOADS: readonly (readonly [string, string])[] = [
  ["fields smuggled into the answer", '1,"logs":["forged"],"x":1'],
  ["an answer closed early", '1}\\n{"result":2'],
  ["nothing", ""],
  ["no JSON", "undefined"],
  ["two values", "1 2"],
  ["bytes that are not UTF-8", '"\\xff\\xfe"'],
  ["a duplicate of __proto__", '{"__proto__":{"logs":["forged"]}}'],
];

test.each(PAYLOADS)("a result that is %s does not change the answer's form", async (_what, payload) => {
  const workspace = "payload";
  const node = `${NODE_HEAD}const payload = Buffer.from(${JSON.stringify(payload).replaceAll("\\\\", "\\")}, "latin1"); for (const id of ids) send(frame(0x83, id, payload)); await sleep(300); return "own"`;
  const python = `${PYTHON_HEAD}payload = ${JSON.stringify(payload).replaceAll("\\\\", "\\")}.encode("latin-1")\nfor id in ids:\n    send(frame(0x83, id, payload))\nsleep(0.3)\nreturn "own"`;
  await server.save(workspace, { node: { code: node }, python: { language: "python", code: python } });
  for (const name of ["node", "python"]) {
    const answer = await server.run(workspace, name);
    const { json } = answer;
    expect(Object.keys(json).filter((key) => !["result", "logs", "duration", "error"].includes(key))).toEqual([]);
    expect(json.logs).toEqual([]);
    if (answer.status !== 200) expect(["INVALID_RESPONSE", "INTERRUPTED", "CRASHED"]).toContain(answer.code);
  }
});

describe("log lines", () => {
  const ESCAPES = "\\u001b]0;owned\\u0007\\u001b[2J\\u009b31m\\r\\nforged line\\u0000\\u2028\\ud800";

  test("with terminal escapes come back as data and stay one entry", async () => {
    await server.save("escapes", {
      node: { code: `console.log("${ESCAPES}"); console.error({ x: "\\u001b[31m" }); throw new Error("${ESCAPES}")` },
      python: { language: "python", code: `print("${ESCAPES}")\nraise ValueError("${ESCAPES}")` },
    });
    for (const name of ["node", "python"]) {
      const answer = await server.run("escapes", name);
      expect(answer.json.error?.code).toBe("THREW");
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there.
      expect(answer.text).not.toMatch(/[\u0000-\u0008\u000b-\u001f]/);
      expect(answer.logs[0]).toContain("owned");
    }
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there.
    expect(server.log).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u009b]/);
  });

  test("that look like the server's own do not get into its log", async () => {
    const before = server.log.length;
    await server.save("lookalike", {
      f: { code: 'console.log(\'{"level":60,"msg":"forged"}\'); process.stderr.write(\'\\n{"level":60}\\n\'); return 1' },
    });
    await server.run("lookalike", "f");
    expect(server.log.slice(before)).not.toContain("forged");
  });

  test("written after the answer never reach a later call", async () => {
    await server.save("after", {
      node: { code: 'setTimeout(() => console.log("late of " + id), 100); return id', parameters: { id: {} } },
      nodeNext: { code: 'await new Promise((done) => setTimeout(done, 300)); console.log("own"); return 1' },
      python: {
        language: "python",
        code: 'import threading\nthreading.Timer(0.1, lambda: print("late of", id)).start()\nreturn id',
        parameters: { id: {} },
      },
      pythonNext: { language: "python", code: 'import time\ntime.sleep(0.3)\nprint("own")\nreturn 1' },
    });
    for (const name of ["node", "python"]) {
      expect((await server.run("after", name, { id: 1 })).logs).toEqual([]);
      expect((await server.run("after", `${name}Next`)).logs).toEqual(["own"]);
    }
  });
});

describe("a runtime whose language was bent", () => {
  const BENT: readonly (readonly [string, string])[] = [
    ["JSON", 'JSON.stringify = () => \'1,"logs":["forged"]\'; JSON.parse = () => ({ forged: 1 })'],
    ["Promise", "Promise.prototype.then = function () { return this }; globalThis.Promise = class {}"],
    [
      "arrays",
      'Array.prototype.push = () => 0; Array.prototype.toJSON = () => "forged"; Object.prototype.toJSON = () => "forged"',
    ],
    ["buffers", 'Buffer.prototype.write = () => 0; Buffer.concat = () => Buffer.from("forged"); Buffer.allocUnsafe = () => null'],
    [
      "maps",
      "Map.prototype.get = () => undefined; Map.prototype.set = () => { throw 1 }; WeakMap.prototype.get = () => { throw 1 }",
    ],
    [
      "Object.prototype",
      'for (const key of ["code", "error", "id", "fd", "get", "value", "then", "length"]) Object.prototype[key] = "forged"',
    ],
    [
      "process",
      "process.stdout.write = () => { throw 1 }; process.nextTick = () => {}; process.emit = () => { throw 1 }; process.exit = () => {}",
    ],
    [
      "timers and fs",
      'globalThis.setImmediate = () => {}; globalThis.setTimeout = () => {}; const fs = process.getBuiltinModule("fs"); fs.writevSync = fs.writeSync = () => { throw 1 }',
    ],
  ];
  test.each(BENT)("by overwriting %s harms only its own workspace", async (what, code) => {
    const workspace = `bent-${what.replaceAll(/[^a-z]+/gi, "-")}`;
    await server.save(workspace, { bend: { code: `${code}; return "bent"` }, fine: { code: 'return { a: ["fine"] }' } });
    const victims = ["node", "python"].map((victim) => server.run("victim", victim));
    const bend = await server.run(workspace, "bend");
    expect(bend.status).toBeLessThan(505);
    const after = await server.run(workspace, "fine");
    expect(Object.keys(after.json).sort()).toEqual(
      after.status === 200 ? ["duration", "logs", "result"] : ["duration", "error", "logs"],
    );
    expect(after.json.logs).toEqual([]);
    for (const victim of await Promise.all(victims)) expect(victim.json).toMatchObject({ result: "true result", logs: ["mine"] });
    // Saving it anew gets a runtime that nobody bent.
    await server.save(workspace, { fine: { code: 'return { a: ["fine"] }' } });
    expect(await server.result(workspace, "fine")).toEqual({ a: ["fine"] });
  });

  test("in Python harms only its own workspace", async () => {
    const code = `import builtins, json, os, sys, threading
json.dumps = lambda *a, **k: '1,"logs":["forged"]'
builtins.len = lambda *a: 7
builtins.isinstance = lambda *a: True
builtins.print = None
sys.stdout = None
os.write = lambda *a: 0
threading.Thread.start = lambda self: None
return "bent"`;
    await server.save("bent-python", {
      bend: { language: "python", code },
      fine: { language: "python", code: 'return {"a": ["fine"]}' },
    });
    const victim = server.run("victim", "python");
    await server.run("bent-python", "bend");
    const after = await server.run("bent-python", "fine");
    if (after.status === 200) expect(after.json).toMatchObject({ result: { a: ["fine"] }, logs: [] });
    expect((await victim).json).toMatchObject({ result: "true result", logs: ["mine"] });
    await server.save("bent-python", { fine: { language: "python", code: "return 'fine'" } });
    expect(await server.result("bent-python", "fine")).toBe("fine");
  });
});

test("one workspace sees nothing of another's cache, files, environment or globals", async () => {
  const marks: Record<string, string> = {
    node: 'cache.mark = "mark"; globalThis.mark = "mark"; process.env.MARK = "mark"; process.getBuiltinModule("fs").writeFileSync("/tmp/mark", "mark"); return 1',
    python:
      'import builtins, os\ncache["mark"] = "mark"\nbuiltins.mark = "mark"\nos.environ["MARK"] = "mark"\nopen("/tmp/mark", "w").write("mark")\nreturn 1',
  };
  const looks: Record<string, string> = {
    node: 'return [cache.mark, globalThis.mark, process.env.MARK, process.getBuiltinModule("fs").existsSync("/tmp/mark")]',
    python:
      'import builtins, os\nreturn [cache.get("mark"), getattr(builtins, "mark", None), os.environ.get("MARK"), os.path.exists("/tmp/mark")]',
  };
  for (const language of ["node", "python"]) {
    const tag = language === "python" ? { language: "python" as const } : {};
    const source = { mark: { ...tag, code: marks[language] ?? "" }, look: { ...tag, code: looks[language] ?? "" } };
    await server.save(`own-${language}`, source);
    await server.save(`other-${language}`, source);
    await server.run(`own-${language}`, "mark");
    expect(await server.result(`own-${language}`, "look")).toEqual(["mark", "mark", "mark", true]);
    expect(await server.result(`other-${language}`, "look")).toEqual([null, null, null, false]);
    // Nor does what comes after it in the same workspace: a save is a fresh start.
    await server.save(`own-${language}`, source);
    expect(await server.result(`own-${language}`, "look")).toEqual([null, null, null, false]);
  }
  await delay(10);
});
