import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { sharedServer } from "../harness/shared-server.ts";

const server = sharedServer();
const BODY = String.raw`{"functions":{"hello":{"code":"return \"Hello \" + name;","parameters":{"name":{"type":"string"}}}}}`;

test("the two calls of the documentation work as printed", async (ctx) => {
  if (!existsSync("/usr/bin/curl")) return ctx.skip("there is no curl on this machine");
  const curl = async (path: string, data: string) => {
    const address = `http://localhost:${server.port}${path}`;
    const { stdout } = await promisify(execFile)("/usr/bin/curl", [
      ...["-sS", "--noproxy", "*", address],
      ...["-H", "Content-Type: application/json", "--data", data],
    ]);
    return stdout;
  };
  expect(await curl("/v2/functions/test", BODY)).toBe(BODY);
  const answer = await curl("/v2/functions/test/run/hello", '{"parameters":{"name":"world"}}');
  expect(answer).toMatch(/^\{"result":"Hello world","logs":\[\],"duration":\d+(\.\d+)?\}$/);
});

test("a function's parameters are variables, its siblings can be awaited, `cache` is everybody's", async () => {
  await server.save("together", {
    add: { code: "return a + b", parameters: { a: { type: "number" }, b: { type: "number" } } },
    twice: { code: "const sum = await add({ a: n, b: n }); return sum", parameters: { n: { type: "number" } } },
    put: { code: "cache.value = value", parameters: { value: {} } },
    get: { code: "return cache.value" },
  });
  expect(await server.result("together", "add", { a: 1, b: 2 })).toBe(3);
  expect(await server.result("together", "twice", { n: 21 })).toBe(42);
  await server.run("together", "put", { value: { deep: [1, 2] } });
  expect(await server.result("together", "get")).toEqual({ deep: [1, 2] });
});

test("the same in Python", async () => {
  await server.save("together-python", {
    add: { language: "python", code: "return a + b", parameters: { a: { type: "number" }, b: { type: "number" } } },
    twice: { language: "python", code: "total = await add(a=n, b=n)\nreturn total", parameters: { n: { type: "number" } } },
    put: { language: "python", code: 'cache["value"] = value', parameters: { value: {} } },
    get: { language: "python", code: 'return cache.get("value")' },
  });
  expect(await server.result("together-python", "add", { a: 1, b: 2 })).toBe(3);
  expect(await server.result("together-python", "twice", { n: 21 })).toBe(42);
  await server.run("together-python", "put", { value: { deep: [1, 2] } });
  expect(await server.result("together-python", "get")).toEqual({ deep: [1, 2] });
});

test("Node and Python live in one workspace", async () => {
  await server.save("both", {
    inNode: { code: "return 'node ' + x", parameters: { x: { type: "integer" } } },
    inPython: { language: "python", code: 'return f"python {x}"', parameters: { x: { type: "integer" } } },
  });
  expect(await server.result("both", "inNode", { x: 1 })).toBe("node 1");
  expect(await server.result("both", "inPython", { x: 2 })).toBe("python 2");
  const read = await server.send("GET", "/v2/functions/both");
  expect(read.json.functions).toMatchObject({ inNode: { language: "nodejs" }, inPython: { language: "python" } });
});

describe("logs", () => {
  test("console lines come back in order", async () => {
    await server.save("logs", {
      node: { code: 'console.log("one", { a: 1 }); console.error("two"); console.warn("three\\nfour"); return 1' },
      python: { language: "python", code: 'import sys\nprint("one", {"a": 1})\nprint("two", file=sys.stderr)\nreturn 1' },
    });
    const node = await server.run("logs", "node");
    expect(node.json).toMatchObject({ result: 1, logs: ["one { a: 1 }", "two", "three\nfour"] });
    const python = await server.run("logs", "python");
    expect(python.json).toMatchObject({ result: 1, logs: ["one {'a': 1}", "two"] });
  });

  test("of concurrent calls each gets its own, none lost, in order", async () => {
    const parameters = { id: { type: "integer" } };
    await server.save("own-logs", {
      node: { code: "for (let i = 0; i < 20; i++) { console.log(id + ':' + i); await null } return id", parameters },
      python: { language: "python", code: "for i in range(20):\n    print(f'{id}:{i}')\nreturn id", parameters },
    });
    for (const name of ["node", "python"]) {
      const answers = await Promise.all(Array.from({ length: 100 }, (_, id) => server.run("own-logs", name, { id })));
      for (const [id, answer] of answers.entries()) {
        expect(answer.logs).toEqual(Array.from({ length: 20 }, (_, line) => `${id}:${line}`));
        expect(answer.json.result).toBe(id);
      }
    }
  });
});

describe("changes", () => {
  test("a patch of one function keeps the others, a post replaces all", async () => {
    await server.save("change", { a: { code: "return 'a'" }, b: { code: "return 'b'" } });
    const patch = await server.send("PATCH", "/v2/functions/change", { functions: { b: { code: "return 'new b'" } } });
    expect(patch.status).toBe(200);
    expect(await server.result("change", "a")).toBe("a");
    expect(await server.result("change", "b")).toBe("new b");
    await server.save("change", { c: { code: "return 'c'" } });
    expect((await server.run("change", "a")).code).toBe("UNKNOWN_FUNCTION");
    expect(await server.result("change", "c")).toBe("c");
  });

  test("a patch without code keeps the code", async () => {
    await server.save("keep", { f: { code: "return x", parameters: { x: { type: "string" } } } });
    const patch = await server.send("PATCH", "/v2/functions/keep", {
      functions: { f: { parameters: { x: { type: "integer" } } } },
    });
    expect(patch.status).toBe(200);
    expect(await server.result("keep", "f", { x: 7 })).toBe(7);
    expect((await server.run("keep", "f", { x: "7" })).code).toBe("INVALID_PARAMETERS");
  });

  test("deleting a function leaves its siblings; deleting the workspace leaves nothing", async () => {
    await server.save("gone", { a: { code: "return 'a'" }, b: { code: "return 'b'" } });
    expect((await server.send("DELETE", "/v2/functions/gone/a")).status).toBe(204);
    expect((await server.run("gone", "a")).code).toBe("UNKNOWN_FUNCTION");
    expect(await server.result("gone", "b")).toBe("b");
    expect((await server.send("DELETE", "/v2/functions/gone")).status).toBe(204);
    expect((await server.run("gone", "b")).code).toBe("UNKNOWN_WORKSPACE");
    expect((await server.send("GET", "/v2/functions/gone")).status).toBe(404);
    expect((await server.send("DELETE", "/v2/functions/gone")).status).toBe(404);
  });

  test("posting the same code again makes a fresh instance", async () => {
    const functions = { count: { code: "cache.n = (cache.n ?? 0) + 1; return cache.n" } };
    await server.save("fresh", functions);
    expect(await server.result("fresh", "count")).toBe(1);
    expect(await server.result("fresh", "count")).toBe(2);
    await server.save("fresh", functions);
    expect(await server.result("fresh", "count")).toBe(1);
  });

  test("a call under way ends on the code it began with", async () => {
    await server.save("under-way", { f: { code: "await new Promise((done) => setTimeout(done, 500)); return 'old'" } });
    const early = server.run("under-way", "f");
    await new Promise((done) => setTimeout(done, 150));
    await server.save("under-way", { f: { code: "return 'new'" } });
    expect(await server.result("under-way", "f")).toBe("new");
    expect((await early).json.result).toBe("old");
  });
});

describe("a syntax error", () => {
  test.each([
    ["node", { code: "const a = 1;\nreturn a +* 2;" }, { function: "broken", line: 2, column: 11 }],
    ["python", { language: "python" as const, code: "a = 1\nreturn a +* 2" }, { function: "broken", line: 2, column: 11 }],
  ])("in %s is refused by function, line and column; what was there stays callable", async (language, broken, place) => {
    const workspace = `syntax-${language}`;
    const fine = { code: "return 'fine'", ...(language === "python" ? { language: "python" as const } : {}) };
    await server.save(workspace, { fine });
    for (const method of ["POST", "PATCH"]) {
      const answer = await server.send(method, `/v2/functions/${workspace}`, { functions: { fine, broken } });
      expect(answer.status).toBe(400);
      expect(answer.json.error).toMatchObject({ code: "SYNTAX_ERROR", details: place });
      expect(answer.json.error?.message).toContain("broken, line 2");
    }
    expect(await server.result(workspace, "fine")).toBe("fine");
    expect((await server.run(workspace, "broken")).code).toBe("UNKNOWN_FUNCTION");
  });
});

describe("parameters", () => {
  const parameters = {
    list: { type: "array", items: { type: "integer" }, minItems: 1 },
    count: { type: "integer", minimum: 1, default: 3 },
    either: { oneOf: [{ type: "string" }, { type: "boolean" }] },
    nested: {
      type: "object",
      properties: { inner: { type: "string", required: true }, size: { type: "number", default: 1.5 } },
    },
    kind: { enum: ["a", "b"] },
    must: { type: "string", required: true },
  };
  const sources = {
    node: { code: "return { list, count, either, nested, kind, must }", parameters },
    python: {
      language: "python" as const,
      code: "return dict(list=list, count=count, either=either, nested=nested, kind=kind, must=must)",
      parameters,
    },
  };

  test.each(["node", "python"] as const)("of every kind reach %s code, defaults filled in", async (name) => {
    await server.save(`kinds-${name}`, { f: sources[name] });
    const given = { list: [1, 2], either: true, nested: { inner: "x" }, kind: "b", must: "m" };
    expect(await server.result(`kinds-${name}`, "f", given)).toEqual({
      ...given,
      count: 3,
      nested: { inner: "x", size: 1.5 },
    });
  });

  test.each([
    ["missing", {}, "/must"],
    ["no integer", { must: "m", count: 1.5 }, "/count"],
    ["below the minimum", { must: "m", count: 0 }, "/count"],
    ["none of oneOf", { must: "m", either: 5 }, "/either"],
    ["a wrong item", { must: "m", list: [1, "x"] }, "/list/1"],
    ["too few items", { must: "m", list: [] }, "/list"],
    ["nested, missing", { must: "m", nested: {} }, "/nested/inner"],
    ["not in the enum", { must: "m", kind: "c" }, "/kind"],
  ])("that do not fit are refused before user code runs: %s", async (_what, given, path) => {
    await server.save("refuse", {
      f: { code: "cache.ran = true; return 1", parameters },
      ran: { code: "return cache.ran === true" },
    });
    const answer = await server.run("refuse", "f", given);
    expect(answer.status).toBe(400);
    expect(answer.json.error?.code).toBe("INVALID_PARAMETERS");
    const faults = answer.json.error?.details?.errors as { path: string }[];
    expect(new Set(faults.map((fault) => fault.path))).toEqual(new Set([path]));
    expect(await server.result("refuse", "ran")).toBe(false);
  });

  test("a function without schema takes any, by name", async () => {
    await server.save("free", {
      node: { code: "return parameters.whatever" },
      python: { language: "python", code: 'return parameters["whatever"]' },
    });
    for (const name of ["node", "python"])
      expect(await server.result("free", name, { whatever: [null, { a: "ü" }] })).toEqual([null, { a: "ü" }]);
  });

  test.each([
    ["a type that is none", { x: { type: "strin" } }],
    ["a pattern that does not parse", { x: { type: "string", pattern: "(" } }],
    ["a circle of references", { x: { $ref: "#/properties/x" } }],
    ["a reference to elsewhere", { x: { $ref: "http://127.0.0.1:1/schema.json" } }],
    ["a schema that is a text", { x: "string" }],
  ])("a schema that is not valid is refused on save: %s", async (_what, schema) => {
    const answer = await server.send("POST", "/v2/functions/bad-schema", {
      functions: { f: { code: "return 1", parameters: schema } },
    });
    expect([answer.status, answer.code]).toEqual([400, "INVALID_SCHEMA"]);
    expect(answer.json.error?.message).toContain("f");
  });
});

test("strange but legal results arrive as they are", async () => {
  const value = { "": [null, true, -0.5, 1e300, "\u0000\u2028\ud83d\ude00", { __proto__x: 1 }], nested: { deep: [[[]]] } };
  await server.save("results", {
    echo: { code: "return value", parameters: { value: {} } },
    echoPython: { language: "python", code: "return value", parameters: { value: {} } },
    nothing: { code: "" },
    nothingPython: { language: "python", code: "" },
    date: { code: "return new Date(0)" },
  });
  expect(await server.result("results", "echo", { value })).toEqual(value);
  expect(await server.result("results", "echoPython", { value })).toEqual(value);
  for (const name of ["nothing", "nothingPython"]) {
    const answer = await server.run("results", name);
    expect(answer.status).toBe(200);
    expect(answer.json.result ?? null).toBeNull();
  }
  expect(await server.result("results", "date")).toBe("1970-01-01T00:00:00.000Z");
});

test("the long way round (a query, an encoded name, chunks) answers like the short one", async () => {
  await server.save("ways", { f: { code: "return n * 2", parameters: { n: { type: "integer" } } } });
  const plain = await server.run("ways", "f", { n: 4 });
  const ways = [
    await server.send("POST", "/v2/functions/ways/run/f?x=1", { parameters: { n: 4 } }),
    await server.send("POST", "/v2/functions/%77ays/run/%66", { parameters: { n: 4 } }),
    await server.send(
      "POST",
      "/v2/functions/ways/run/f",
      { parameters: { n: 4 } },
      {
        headers: { "content-type": "application/json; charset=utf-8" },
      },
    ),
  ];
  for (const answer of ways) {
    expect(answer.status).toBe(200);
    expect({ ...answer.json, duration: 0 }).toEqual({ ...plain.json, duration: 0 });
    expect(answer.headers["content-type"]).toBe(plain.headers["content-type"]);
  }
  const wrong = await server.run("ways", "f", { n: "x" });
  const wrongLong = await server.send("POST", "/v2/functions/ways/run/f?x=1", { parameters: { n: "x" } });
  expect([wrongLong.status, wrongLong.json]).toEqual([wrong.status, wrong.json]);
});
