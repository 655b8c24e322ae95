import { describe, expect, test } from "vitest";
import type { Answer } from "../harness/http.ts";
import type { FunctionSource } from "../harness/server.ts";
import { sharedServer } from "../harness/shared-server.ts";

const TIMEOUT_MS = 2_500;
const server = sharedServer({
  flags: {
    "run-timeout": String(TIMEOUT_MS),
    "python-run-timeout": String(TIMEOUT_MS),
    "result-max-size": "64kb",
    "log-max-size": "16kb",
    "node-heap-mb": "64",
    "dependencies-infer": "no",
  },
});

const python = (code: string): FunctionSource => ({ language: "python", code });
const node = (code: string): FunctionSource => ({ code });

/** Calls `f` of a workspace of its own, with a sibling that must answer afterwards. */
async function call(name: string, source: FunctionSource): Promise<Answer> {
  const workspace = `e-${name.replaceAll(/[^a-z0-9]+/gi, "-")}`;
  const fine = { ...source, code: "return 'fine'" };
  await server.save(workspace, { f: source, fine });
  const answer = await server.run(workspace, "f");
  expect(await server.result(workspace, "fine")).toBe("fine");
  return answer;
}

const cases: readonly {
  readonly what: string;
  readonly source: FunctionSource;
  readonly code: string;
  readonly status: number;
  readonly details?: object;
  readonly message?: RegExp;
  readonly logs?: readonly string[];
}[] = [
  {
    what: "node throws",
    source: node('console.log("before");\nconst deep = () => { throw new TypeError("too bad") };\ndeep();'),
    ...{ code: "THREW", status: 500, logs: ["before"], message: /TypeError: too bad \(f, line 2, column 28\)/ },
    details: {
      name: "TypeError",
      message: "too bad",
      line: 2,
      column: 28,
      stack: expect.stringMatching(/at deep \(f\.js:2:28\)[\s\S]*f\.js:3:1/),
    },
  },
  {
    what: "python raises",
    source: python('print("before")\ndef deep():\n    raise KeyError("too bad")\ndeep()'),
    ...{ code: "THREW", status: 500, logs: ["before"], message: /KeyError: 'too bad'/ },
    details: { name: "KeyError", line: 3, stack: expect.stringMatching(/f\.py", line 4[\s\S]*f\.py", line 3, in deep/) },
  },
  { what: "node throws a string", source: node('throw "plain"'), code: "THREW", status: 500, message: /plain/ },
  { what: "node throws undefined", source: node("throw undefined"), code: "THREW", status: 500 },
  { what: "python sys.exit", source: python("import sys\nsys.exit(3)"), code: "THREW", status: 500, message: /SystemExit/ },
  {
    what: "node denied import",
    source: node('return require("child_process")'),
    code: "IMPORT_DENIED",
    status: 400,
    message: /child_process/,
  },
  {
    what: "node denied dynamic import",
    source: node('return await import("node:fs")'),
    code: "IMPORT_DENIED",
    status: 400,
    message: /fs/,
  },
  {
    what: "node missing package",
    source: node('return require("not-there")'),
    code: "MODULE_NOT_FOUND",
    status: 400,
    message: /not-there/,
  },
  {
    what: "python missing package",
    source: python("import not_there"),
    code: "MODULE_NOT_FOUND",
    status: 400,
    message: /not_there/,
  },
  { what: "node cycle", source: node("const a = {}; a.a = a; return a"), code: "RESULT_NOT_SERIALIZABLE", status: 422 },
  { what: "node bigint", source: node("return 1n"), code: "RESULT_NOT_SERIALIZABLE", status: 422 },
  { what: "python cycle", source: python("a = []\na.append(a)\nreturn a"), code: "RESULT_NOT_SERIALIZABLE", status: 422 },
  { what: "python set", source: python("return {1, 2}"), code: "RESULT_NOT_SERIALIZABLE", status: 422 },
  { what: "node too large", source: node('return "x".repeat(70000)'), code: "RESULT_TOO_LARGE", status: 413 },
  { what: "python too large", source: python('return "x" * 70000'), code: "RESULT_TOO_LARGE", status: 413 },
  {
    what: "node exits",
    source: node('console.log("last words"); process.exit(3)'),
    ...{ code: "CRASHED", status: 502, details: { exitCode: 3 }, logs: ["last words"] },
  },
  {
    what: "python exits",
    source: python('import os\nprint("last words")\nos._exit(3)'),
    ...{ code: "CRASHED", status: 502, details: { exitCode: 3 }, logs: ["last words"] },
  },
  {
    what: "node kills itself",
    source: node('console.log("last words"); process.kill(process.pid, "SIGKILL")'),
    ...{ code: "CRASHED", status: 502, logs: ["last words"] },
  },
  {
    what: "python kills itself",
    source: python('import os, signal\nprint("last words")\nos.kill(os.getpid(), signal.SIGKILL)'),
    ...{ code: "CRASHED", status: 502, logs: ["last words"] },
  },
  {
    what: "node aborts",
    source: node("process.abort()"),
    ...{ code: "CRASHED", status: 502 },
  },
  {
    what: "python segfaults",
    source: python("import ctypes\nctypes.string_at(0)"),
    ...{ code: "CRASHED", status: 502 },
  },
  {
    what: "node heap",
    source: node('console.log("before"); const all = []; for (;;) all.push(new Array(200_000).fill(all.length + 0.5))'),
    ...{ code: "OUT_OF_MEMORY", status: 507, logs: ["before"] },
  },
  {
    what: "node buffers",
    source: node('console.log("before"); const all = []; for (;;) all.push(Buffer.alloc(4e6, 1))'),
    ...{ code: "OUT_OF_MEMORY", status: 507, logs: ["before"] },
  },
  {
    what: "python list",
    source: python('print("before")\nall = []\nwhile True:\n    all.append("x" * 1_000_000 + str(len(all)))'),
    ...{ code: "OUT_OF_MEMORY", status: 507, logs: ["before"] },
  },
  {
    what: "node sleeps",
    source: node('console.log("before"); await new Promise((done) => setTimeout(done, 60_000)); return 1'),
    ...{ code: "TIMED_OUT", status: 504, logs: ["before"], details: { limitMs: TIMEOUT_MS } },
  },
  {
    what: "node blocked loop",
    source: node('console.log("before"); for (;;);'),
    ...{ code: "TIMED_OUT", status: 504, logs: ["before"], details: { limitMs: TIMEOUT_MS } },
  },
  {
    what: "python sleeps",
    source: python('import time\nprint("before")\ntime.sleep(60)'),
    ...{ code: "TIMED_OUT", status: 504, logs: ["before"], details: { limitMs: TIMEOUT_MS } },
  },
  {
    what: "python awaits",
    source: python('import asyncio\nprint("before")\nawait asyncio.sleep(60)'),
    ...{ code: "TIMED_OUT", status: 504, logs: ["before"], details: { limitMs: TIMEOUT_MS } },
  },
  {
    what: "python blocked loop",
    source: python('print("before")\nwhile True:\n    pass'),
    ...{ code: "TIMED_OUT", status: 504, logs: ["before"], details: { limitMs: TIMEOUT_MS } },
  },
];

test.each(cases)("$what: $code", async ({ what, source, code, status, details, message, logs }) => {
  const started = performance.now();
  const answer = await call(what, source);
  const took = performance.now() - started;
  expect(answer.json.error?.code, answer.text.slice(0, 1_000)).toBe(code);
  expect(answer.status).toBe(status);
  const { error } = answer.json;
  expect(error?.docs).toBe(`docs/reference/errors.md#${code.toLowerCase()}`);
  expect(error?.help).toMatch(/\.$/);
  if (message !== undefined) expect(error?.message).toMatch(message);
  if (details !== undefined) expect(error?.details).toMatchObject(details);
  if (logs !== undefined) expect(answer.logs.filter((line) => line !== "").slice(0, logs.length)).toEqual(logs);
  if (code === "TIMED_OUT") expect(took).toBeLessThan(TIMEOUT_MS + 8_000);
  // What V8 prints when it aborts names its frames, whosever they are.
  if (what !== "node aborts") expect(answer.text).not.toMatch(/\/runtime\/node|treadle_runtime|node:internal|packages\//);
});

test("a result that is no number in JSON is still an answer in JSON", async () => {
  for (const source of [node("return [NaN, Infinity]"), python("return [float('nan'), float('inf')]")]) {
    const answer = await call(`nan-${source.language ?? "node"}`, source);
    expect([200, 422]).toContain(answer.status);
    if (answer.status === 200) expect(answer.json.result).toEqual([null, null]);
    else expect(answer.code).toBe("RESULT_NOT_SERIALIZABLE");
  }
});

test("what is beyond the log's limit is dropped, with a mark", async () => {
  for (const source of [
    node('for (let i = 0; i < 1000; i++) console.log("line " + i + "x".repeat(100)); return 1'),
    python('for i in range(1000):\n    print("line", i, "x" * 100)\nreturn 1'),
  ]) {
    const workspace = `truncated-${source.language ?? "node"}`;
    await server.save(workspace, { f: source });
    const answer = await server.run(workspace, "f");
    expect(answer.json.result).toBe(1);
    expect(answer.logs.at(-1)).toMatch(/log truncated/);
    expect(answer.logs.length).toBeLessThan(200);
    expect(answer.logs[0]).toMatch(/^line 0/);
    const v1 = await server.send("POST", `/api/v1/workspaces/${workspace}/functions/f/executions`, {});
    expect((v1.json.execution as { logs: object[] }).logs.at(-1)).toMatchObject({ code: "LOG_TRUNCATED" });
  }
});

describe("what is not there", () => {
  test.each([
    ["POST", "/v2/functions/nowhere/run/f", 404, "UNKNOWN_WORKSPACE"],
    ["GET", "/v2/functions/nowhere", 404, "UNKNOWN_WORKSPACE"],
    ["DELETE", "/v2/functions/nowhere/f", 404, "UNKNOWN_WORKSPACE"],
    ["POST", "/v2/functions/there/run/nothing", 404, "UNKNOWN_FUNCTION"],
    ["DELETE", "/v2/functions/there/nothing", 404, "UNKNOWN_FUNCTION"],
    ["GET", "/api/v1/workspaces/there/functions/nothing", 404, "UNKNOWN_FUNCTION"],
    ["POST", "/api/v1/workspaces/there/functions/nothing/executions", 404, "UNKNOWN_FUNCTION"],
    ["GET", "/api/v1/executions/nothing", 404, "UNKNOWN_EXECUTION"],
    ["GET", "/v3/anything", 404, "ROUTE_NOT_FOUND"],
    ["PUT", "/v2/functions/there", 404, "ROUTE_NOT_FOUND"],
  ])("%s %s: %i %s", async (method, path, status, code) => {
    await server.save("there", { f: { code: "return 1" } });
    const answer = await server.send(method, path, method === "POST" || method === "PUT" ? {} : undefined);
    expect([answer.status, answer.code]).toEqual([status, code]);
  });

  test.each([
    [{ functions: { f: { code: "return 1", language: "cobol" } } }, "UNKNOWN_RUNTIME", /cobol/],
    [{ functions: { "a b": { code: "return 1" } } }, "BAD_REQUEST", /a b/],
    [{ functions: { "": { code: "return 1" } } }, "BAD_REQUEST", /""/],
    [{ functions: { f: {} } }, "BAD_REQUEST", /code/],
    [{}, "BAD_REQUEST", /functions/],
  ])("saving %j: %s", async (body, code, message) => {
    const answer = await server.send("POST", "/v2/functions/not-saved", body);
    expect([answer.status, answer.code]).toEqual([400, code]);
    expect(answer.json.error?.message).toMatch(message);
    expect((await server.send("GET", "/v2/functions/not-saved")).status).toBe(404);
  });
});
