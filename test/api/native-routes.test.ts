import { describe, expect, test } from "vitest";
import { sharedServer } from "../harness/shared-server.ts";

const server = sharedServer({ flags: { "dependencies-infer": "no" } });
const V1 = "/api/v1/workspaces";

interface FunctionView {
  readonly name: string;
  readonly version: number;
  readonly [field: string]: unknown;
}

async function put(workspace: string, functions: object, query = ""): Promise<{ revision: number; functions: FunctionView[] }> {
  const answer = await server.send("PUT", `${V1}/${workspace}${query}`, { functions });
  expect(answer.status, answer.text).toBe(200);
  return answer.json as unknown as { revision: number; functions: FunctionView[] };
}

describe("workspaces", () => {
  test("are created, read, listed page by page, and deleted", async () => {
    for (const name of ["list-c", "list-a", "list-b"]) await put(name, { f: { code: "return 1" } });
    const seen: string[] = [];
    let after: string | null = "list-";
    while (after !== null && seen.length < 10) {
      const page = await server.send("GET", `${V1}?limit=2&after=${after}`);
      const { workspaces, next } = page.json as unknown as {
        workspaces: { name: string; functions: number }[];
        next: string | null;
      };
      seen.push(...workspaces.map((each) => each.name));
      for (const each of workspaces) expect(each.functions).toBe(1);
      after = next;
    }
    expect(seen.slice(0, 3)).toEqual(["list-a", "list-b", "list-c"]);
    expect((await server.send("DELETE", `${V1}/list-b`)).status).toBe(204);
    expect((await server.send("GET", `${V1}/list-b`)).code).toBe("UNKNOWN_WORKSPACE");
    expect((await server.send("DELETE", `${V1}/list-b`)).code).toBe("UNKNOWN_WORKSPACE");
  });

  test("a patch adds, changes and removes, and keeps what it does not name", async () => {
    const settings = { timeoutMs: 5_000, memoryBytes: 268_435_456 };
    await put("patched", { a: { code: "return 'a'", settings }, b: { code: "return 'b'" }, c: { code: "return 'c'" } });
    const answer = await server.send("PATCH", `${V1}/patched`, {
      functions: { b: { parameters: { x: { type: "string" } } }, d: { code: "return 'd'" } },
      remove: ["c"],
    });
    expect(answer.status, answer.text).toBe(200);
    const read = (await server.send("GET", `${V1}/patched`)).json as unknown as { functions: FunctionView[] };
    expect(read).toEqual(answer.json);
    const by = Object.fromEntries(read.functions.map((each) => [each.name, each]));
    expect(Object.keys(by).sort()).toEqual(["a", "b", "d"]);
    expect(by.a).toMatchObject({ code: "return 'a'", settings, version: 1, language: "node", contract: "inline" });
    expect(by.b).toMatchObject({ code: "return 'b'", parameters: { x: { type: "string" } }, version: 2 });
    for (const name of ["a", "b", "d"]) expect(await server.result("patched", name)).toBe(name);
  });

  test("a change against an old revision is a conflict and changes nothing", async () => {
    const first = await put("conflict", { f: { code: "return 1" } });
    const second = await put("conflict", { f: { code: "return 2" } }, `?revision=${first.revision}`);
    expect(second.revision).toBeGreaterThan(first.revision);
    const late = await server.send("PUT", `${V1}/conflict?revision=${first.revision}`, {
      functions: { f: { code: "return 3" } },
    });
    expect([late.status, late.code]).toEqual([409, "CONFLICT"]);
    expect(await server.result("conflict", "f")).toBe(2);
  });

  test("two changes at once both hold", async () => {
    await put("at-once", { base: { code: "return 0" } });
    const answers = await Promise.all(
      Array.from({ length: 6 }, (_, i) => server.send("PUT", `${V1}/at-once/functions/f${i}`, { code: `return ${i}` })),
    );
    expect(answers.map((answer) => answer.status)).toEqual(answers.map(() => 200));
    for (let i = 0; i < 6; i++) expect(await server.result("at-once", `f${i}`)).toBe(i);
  });
});

describe("single functions", () => {
  test("are put, changed in parts, read and deleted", async () => {
    const path = `${V1}/single/functions/f`;
    expect((await server.send("PUT", path, { code: "return 1" })).json).toMatchObject({
      name: "f",
      version: 1,
      code: "return 1",
    });
    expect((await server.send("PUT", path, { settings: { timeoutMs: 300 } })).json).toMatchObject({
      code: "return 1",
      settings: { timeoutMs: 300 },
    });
    expect((await server.send("GET", path)).json).toMatchObject({ code: "return 1", settings: { timeoutMs: 300 } });
    expect((await server.send("DELETE", path)).status).toBe(204);
    expect((await server.send("GET", path)).code).toBe("UNKNOWN_FUNCTION");
    expect((await server.send("DELETE", path)).code).toBe("UNKNOWN_FUNCTION");
  });

  test("keep their own time and memory limits", async () => {
    await put("limits", {
      short: { code: "await new Promise((done) => setTimeout(done, 3_000)); return 1", settings: { timeoutMs: 200 } },
      roomy: {
        language: "python",
        code: "return len(bytearray(300 * 1024 * 1024))",
        settings: { memoryBytes: 512 * 1024 * 1024 },
      },
    });
    const timedOut = await server.run("limits", "short");
    expect(timedOut.json.error).toMatchObject({ code: "TIMED_OUT", details: { limitMs: 200 } });
    expect(await server.result("limits", "roomy")).toBe(300 * 1024 * 1024);
  });
});

describe("handler functions", () => {
  const sources = {
    node: {
      contract: "handler",
      files: [
        {
          path: "index.js",
          text: 'const { greet } = require("./lib/greet.js");\nmodule.exports = async ({ req, res, log }) => { log("called"); return res.json({ greeting: greet(req.bodyJson.name), path: req.path, q: req.query }, 201, { "x-own": "yes" }); };',
        },
        { path: "lib/greet.js", base64: Buffer.from("exports.greet = (name) => 'Hello ' + name;").toString("base64") },
      ],
    },
    python: {
      contract: "handler",
      language: "python",
      files: [
        {
          path: "main.py",
          text: 'from greet import greet\n\ndef main(context):\n    context.log("called")\n    return context.res.json({"greeting": greet(context.req.body_json["name"]), "path": context.req.path, "q": context.req.query}, 201, {"x-own": "yes"})\n',
        },
        { path: "greet.py", text: 'def greet(name):\n    return "Hello " + name\n' },
      ],
    },
  };

  test.each(["node", "python"] as const)("in %s get a request and give a response, with logs", async (language) => {
    await put(`handler-${language}`, { web: sources[language] });
    const answer = await server.send("POST", `${V1}/handler-${language}/functions/web/executions`, {
      request: { method: "POST", path: "/a/b?x=1", headers: { "content-type": "application/json" }, body: '{"name":"world"}' },
    });
    expect(answer.status, answer.text).toBe(200);
    const { response, execution } = answer.json as unknown as {
      response: { statusCode: number; headers: [string, string][]; body: string };
      execution: { state: string; logs: { message: string }[] };
    };
    expect(response.statusCode).toBe(201);
    expect(JSON.parse(response.body)).toMatchObject({ greeting: "Hello world", path: "/a/b", q: { x: "1" } });
    expect(response.headers).toContainEqual(["x-own", "yes"]);
    expect(execution).toMatchObject({ state: "succeeded", logs: [{ message: "called" }] });
  });

  test("that do not load say why; called the wrong way they say so", async () => {
    await put("handler-bad", {
      throws: { contract: "handler", files: [{ path: "index.js", text: 'throw new Error("at the top")' }] },
      nothing: { contract: "handler", files: [{ path: "index.js", text: "exports.x = 1" }] },
      inline: { code: "return 1" },
    });
    for (const [name, message] of [
      ["throws", /at the top/],
      ["nothing", /function/],
    ] as const) {
      const answer = await server.send("POST", `${V1}/handler-bad/functions/${name}/executions`, { request: {} });
      const { execution } = answer.json as unknown as { execution: { state: string; error: { code: string; message: string } } };
      expect(execution.state).toBe("failed");
      expect(execution.error.code).toBe("LOAD_FAILED");
      expect(execution.error.message).toMatch(message);
    }
    const wrong = await server.send("POST", `${V1}/handler-bad/functions/inline/executions`, { request: {} });
    expect([wrong.status, wrong.code]).toEqual([400, "BAD_REQUEST"]);
    const v2 = await server.run("handler-bad", "throws");
    expect([v2.status, v2.code]).toEqual([400, "BAD_REQUEST"]);
  });

  test.each(["../up.js", "/abs.js", "a/../../up.js", "a//b.js", "", ".", "a\u0000b", "a\\..\\b", `${"x".repeat(300)}.js`])(
    "a source path that leads elsewhere is refused: %j",
    async (path) => {
      const answer = await server.send("PUT", `${V1}/paths`, {
        functions: { f: { contract: "handler", files: [{ path, text: "1" }] } },
      });
      expect([answer.status, answer.code]).toEqual([400, "BAD_REQUEST"]);
    },
  );
});

describe("executions", () => {
  test("are listed with input, output, error and logs, and found again", async () => {
    await put("recorded", {
      fine: { code: 'console.log("hello"); console.error("oh"); return x * 2', parameters: { x: { type: "integer" } } },
      bad: { code: 'console.log("before"); throw new RangeError("searchable-7341")' },
      slow: { code: 'console.log("slow"); for (;;);', settings: { timeoutMs: 300 } },
    });
    const called = await server.send("POST", `${V1}/recorded/functions/fine/executions`, { parameters: { x: 21 } });
    expect(called.json).toMatchObject({ result: 42, execution: { state: "succeeded", error: null } });
    const { id } = called.json.execution as { id: string };
    await server.run("recorded", "bad");
    await server.run("recorded", "slow");
    type Listed = {
      executions: { id: string; function: string; state: string; error: { code: string } | null; logs: object[] }[];
      next: string | null;
    };
    const list = async (query: string) =>
      (await server.send("GET", `/api/v1/executions?workspace=recorded${query}`)).json as unknown as Listed;
    await expect.poll(async () => (await list("")).executions.length, { timeout: 5_000 }).toBe(3);
    const { executions } = await list("");
    expect(executions.map((each) => [each.function, each.state, each.error?.code ?? null])).toEqual([
      ["slow", "timed_out", "TIMED_OUT"],
      ["bad", "failed", "THREW"],
      ["fine", "succeeded", null],
    ]);
    expect(executions[0]?.logs).toEqual([{ level: "info", time: expect.any(Number), message: "slow" }]);
    const one = await server.send("GET", `/api/v1/executions/${id}`);
    expect(one.json).toMatchObject({
      ...{ id, workspace: "recorded", function: "fine", state: "succeeded", trigger: "sync", version: 1 },
      ...{ input: '{"x":21}', output: "42" },
      logs: [
        { level: "info", message: "hello" },
        { level: "error", message: "oh" },
      ],
    });
    expect((await list("&state=failed")).executions.map((each) => each.function)).toEqual(["bad"]);
    expect((await list("&text=searchable-7341")).executions.map((each) => each.function)).toEqual(["bad"]);
    expect((await list("&function=fine")).executions).toHaveLength(1);
    const first = await list("&limit=2");
    expect(first.executions).toHaveLength(2);
    const rest = await list(`&limit=2&after=${first.next}`);
    expect(rest.executions.map((each) => each.function)).toEqual(["fine"]);
    expect(rest.next).toBeNull();
  });
});

describe("the server itself", () => {
  test("tells its health, runtimes, instances and metrics", async () => {
    await put("system", { f: { code: "return 1" } });
    await server.result("system", "f");
    expect((await server.send("GET", "/health")).json).toMatchObject({ status: "ok" });
    expect((await server.send("GET", "/ready")).json).toEqual({ status: "ready" });
    const runtimes = (await server.send("GET", "/api/v1/runtimes")).json as unknown as { available: { language: string }[] };
    expect(runtimes.available.map((each) => each.language)).toEqual(expect.arrayContaining(["node", "python"]));
    const instances = await server.instances("system");
    expect(instances).toEqual([expect.objectContaining({ program: "node", inFlight: 0, served: 1 })]);
    expect(instances[0]?.memoryBytes).toBeGreaterThan(1_000_000);
    const metrics = await server.send("GET", "/metrics");
    expect(metrics.headers["content-type"]).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(metrics.text).toMatch(/^treadle_execution_duration_seconds_count\{language="node",state="succeeded",code=""\} [1-9]/m);
    expect(metrics.text).toMatch(/^treadle_instances [1-9]/m);
    const page = await server.send("GET", "/docs/");
    expect(page.status).toBe(200);
    expect(page.text).toContain("<html");
  });
});
