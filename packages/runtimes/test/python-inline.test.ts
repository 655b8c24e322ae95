import { expect, test } from "vitest";
import type { LoadOptions } from "./channel-client.ts";
import { startPython } from "./python-server.ts";

type Functions = NonNullable<LoadOptions["functions"]>;

async function loaded(functions: Functions, options: Omit<LoadOptions, "functions"> = {}) {
  const client = startPython();
  const report = await client.load({ ...options, functions });
  return { client, report, [Symbol.asyncDispose]: () => client[Symbol.asyncDispose]() };
}

test("announces itself, loads and calls a function", async () => {
  await using server = await loaded({ hello: { code: 'return "Hello " + name', parameters: ["name"] } });
  expect(await server.client.ready).toEqual({ runtime: "python", version: expect.stringMatching(/^3\.\d+\.\d+$/) });
  expect(server.report).toEqual({ errors: {}, imports: { hello: [] } });
  expect(await server.client.result("hello", { name: "world" })).toBe("Hello world");
});

test("ends when the channel is closed", async () => {
  const client = startPython();
  await client.ready;
  await client[Symbol.asyncDispose]();
  expect(await client.exited).toEqual({ code: 0, signal: null });
});

test("parameters are variables, with defaults that no call can spoil for the next", async () => {
  await using server = await loaded({
    all: { code: "return [a, b, c, parameters]", parameters: ["a", "b", "c"], defaults: { b: 2 } },
    grow: { code: "items.append(1)\nreturn items", parameters: ["items"], defaults: { items: [] } },
    odd: {
      code: 'return sorted(parameters.items())[0] + (parameters["class"],)',
      parameters: ["class", "not-a-name", "__debug__", "None", "def", "ﬁ", "fi", ""],
    },
    own: { code: "return parameters", parameters: ["parameters"] },
    shadow: { code: "return [cache, print]", parameters: ["cache", "print"] },
  });
  const { client } = server;
  expect(server.report.errors).toEqual({});
  expect(await client.result("all", { a: 1, extra: 5 })).toEqual([1, 2, null, { a: 1, b: 2, extra: 5 }]);
  expect(await client.result("grow")).toEqual([1]);
  expect(await client.result("grow")).toEqual([1]);
  expect(await client.result("odd", { class: 7, "": 1 })).toEqual(["", 1, 7]);
  expect(await client.result("own", { parameters: 3 })).toBe(3);
  expect(await client.result("shadow", { cache: 1, print: 2 })).toEqual([1, 2]);
});

test("functions call each other by name, by item and with a dict, and share a cache", async () => {
  await using server = await loaded({
    add: { code: "return a + b", parameters: ["a", "b"] },
    "any-name": { code: "return n * 2", parameters: ["n"] },
    list: "return 'the sibling'",
    use: 'return [await add(a=1, b=2), await add({"a": 3, "b": 4}), await functions["any-name"](n=5), await list(), list((1, 2))]',
    count: 'cache["n"] = cache.get("n", 0) + 1\nreturn cache["n"]',
    read: 'return cache["n"]',
    wrong: "return await add(1, 2)",
    missing: 'return await functions["nobody"]()',
    import: "return 1",
    __init__: "return 2",
    __proto: "return 3",
  });
  const { client } = server;
  expect(server.report.errors).toEqual({});
  expect(await client.result("use")).toEqual([3, 7, 10, "the sibling", [1, 2]]);
  await client.result("count");
  await client.result("count");
  expect(await client.result("read")).toBe(2);
  expect((await client.call("wrong")).error).toMatchObject({
    code: "THREW",
    name: "TypeError",
    message: expect.stringContaining("keyword"),
  });
  expect((await client.call("missing")).error).toMatchObject({ code: "UNKNOWN_FUNCTION" });
  expect(await client.result("import")).toBe(1);
  expect(await client.result("__init__")).toBe(2);
});

test("a body may be empty, a docstring, hold nested functions, comprehensions with await and global", async () => {
  await using server = await loaded({
    nothing: "",
    comment: "# only this",
    doc: '"""Says nothing."""',
    nested: "def twice(x):\n    return x * 2\nclass Box:\n    size = 3\nreturn [twice(n) for n in range(Box.size)]",
    comprehension: "return [await one(n=n) for n in (1, 2)]",
    one: { code: "return n", parameters: ["n"] },
    put: "global total\ntotal = 41",
    get: "return total + 1",
    multi: 'text = """a\n  b\n"""\nreturn text',
    generator: "return list((lambda: (yield 1))())",
  });
  const { client } = server;
  expect(server.report.errors).toEqual({});
  for (const name of ["nothing", "comment", "doc"]) expect(await client.result(name)).toBe(null);
  expect(await client.result("nested")).toEqual([0, 2, 4]);
  expect(await client.result("comprehension")).toEqual([1, 2]);
  await client.result("put");
  expect(await client.result("get")).toBe(42);
  expect(await client.result("multi")).toBe("a\n  b\n");
  expect(await client.result("generator")).toEqual([1]);
});

test("a syntax error breaks only its own function and says where it is", async () => {
  await using server = await loaded({
    good: "return 1",
    open: "x = 1\n  y = 2",
    column: "a = 'ä'; b = = 2",
    late: "x = 'ää'; nonlocal q",
    yields: "if True:\n    yield 1",
    stray: "break",
    nul: "a = 1\nb = '\0'",
    surrogate: "a = 1\n b = '\ud800'",
    deep: `return ${"(".repeat(5000)}1${")".repeat(5000)}`,
    chain: `return ${"-".repeat(100_000)}1`,
    calls: "return 1 + await open()",
  });
  const { errors } = server.report;
  expect(Object.keys(errors).sort()).toEqual(
    ["chain", "column", "deep", "late", "nul", "open", "stray", "surrogate", "yields"].sort(),
  );
  for (const [name, error] of Object.entries(errors)) expect(error).toMatchObject({ code: "SYNTAX_ERROR", function: name });
  expect(errors.open).toMatchObject({ line: 2 });
  expect(errors.column).toMatchObject({ line: 1, column: 14 });
  expect(errors.late).toMatchObject({ line: 1, column: 11 });
  expect(errors.yields).toMatchObject({ line: 2, column: 5, message: expect.stringContaining("yield") });
  expect(errors.nul).toMatchObject({ line: 2 });
  expect(errors.surrogate).toMatchObject({ line: 2, column: 7 });
  expect(errors.deep?.message).toMatch(/nest/);
  const { client } = server;
  expect(await client.result("good")).toBe(1);
  expect((await client.call("column")).error).toEqual(errors.column);
  expect((await client.call("calls")).error).toEqual(errors.open);
  expect((await client.call("nobody")).error).toMatchObject({ code: "UNKNOWN_FUNCTION", function: "nobody" });
});

test("reports imported packages, and a missing one at the call", async () => {
  await using server = await loaded({
    uses: "import os, numpy.linalg as la\ndef f():\n    from yaml.x import y\n    from . import z\nreturn 1",
    lacks: "import nosuchpackage.part",
  });
  expect(server.report.imports).toEqual({ uses: ["numpy", "yaml"], lacks: ["nosuchpackage"] });
  expect((await server.client.call("lacks")).error).toMatchObject({
    code: "MODULE_NOT_FOUND",
    module: "nosuchpackage",
    function: "lacks",
    line: 1,
  });
});

test("what is thrown comes with name, message and a stack in the user's own lines", async () => {
  await using server = await loaded({
    outer: "x = 1\nreturn await inner()",
    inner: "def fail():\n    raise ValueError('no \\ud800 luck')\nfail()",
    chained: "try:\n    {}['k']\nexcept KeyError as e:\n    raise OSError(5, 'wrong') from e",
    endless: "def f():\n    f()\nf()",
    leave: "import sys\nsys.exit(3)",
    leave2: "exit()",
    interrupt: "raise KeyboardInterrupt",
    bad: "class E(Exception):\n    def __str__(self):\n        1/0\nraise E()",
    memory: "return 'x' * (1 << 60)",
    long: "raise ValueError('x' * 1000000)",
  });
  const { client } = server;
  const { error } = await client.call("outer");
  expect(error).toMatchObject({ code: "THREW", name: "ValueError", function: "inner", line: 2 });
  expect(error?.stack).toMatch(/File "outer\.py", line 2, in outer\n {4}return await inner\(\)/);
  expect(error?.stack).toMatch(/File "inner\.py", line 2, in fail/);
  expect(error?.stack).not.toMatch(/treadle_runtime/);
  const chained = (await client.call("chained")).error;
  expect(chained?.stack).toMatch(/KeyError: 'k'[\s\S]+direct cause[\s\S]+OSError: \[Errno 5\] wrong/);
  expect((await client.call("endless")).error).toMatchObject({ code: "THREW", name: "RecursionError" });
  for (const name of ["leave", "leave2"])
    expect((await client.call(name)).error).toMatchObject({ code: "THREW", name: "SystemExit" });
  expect((await client.call("interrupt")).error).toMatchObject({ code: "THREW", name: "KeyboardInterrupt" });
  expect((await client.call("bad")).error).toMatchObject({ code: "THREW", name: "E" });
  expect((await client.call("memory")).error).toMatchObject({ code: "OUT_OF_MEMORY" });
  const long = (await client.call("long")).error;
  expect(Buffer.byteLength(long?.stack ?? "")).toBeLessThanOrEqual(16 * 1024);
  expect(client.violations).toEqual([]);
});

test("results that are not JSON, or too large, are refused with the reason", async () => {
  await using server = await loaded(
    {
      set: "return {1}",
      cycle: "a = []\na.append(a)\nreturn a",
      deep: "a = []\nfor _ in range(100000):\n    a = [a]\nreturn a",
      nan: "return float('nan')",
      key: "return {(1, 2): 3}",
      large: "return 'x' * 2000",
      huge: "return 10 ** 10000",
      surrogate: "return 'a\\ud800é'",
      plain: "return {'é': [1, 2.5, None, True, (1,)], 3: 'x'}",
    },
    { limits: { resultBytes: 1000 } },
  );
  const { client } = server;
  const refusals = { set: /type set/, cycle: /itself/, deep: /deep/, nan: /NaN/, key: /key/, huge: /digits/ };
  for (const [name, message] of Object.entries(refusals)) {
    expect((await client.call(name)).error).toMatchObject({
      code: "RESULT_NOT_SERIALIZABLE",
      message: expect.stringMatching(message),
    });
  }
  expect((await client.call("large")).error).toMatchObject({ code: "RESULT_TOO_LARGE" });
  expect(await client.result("surrogate")).toBe("a\ud800é");
  expect((await client.call("plain")).result?.toString()).toBe('{"é":[1,2.5,null,true,[1]],"3":"x"}');
});

test("the environment of LOAD is os.environ", async () => {
  await using server = await loaded(
    {
      read: 'import os, subprocess\nreturn [os.environ["KEY"], os.getenv("NO"), subprocess.check_output(["printenv", "KEY"]).decode()]',
    },
    { environment: { KEY: "välue", "BAD=NAME": "x", NUL: "a\0b" } },
  );
  expect(await server.client.result("read")).toEqual(["välue", null, "välue\n"]);
});

test("user code that breaks builtins, json and the standard streams does not break the channel", async () => {
  await using server = await loaded({
    vandal: [
      "import builtins, json, os, sys, _thread, time",
      "sys.stdout.close(); sys.stderr = None; sys.stdout = None",
      "json.dumps = json.loads = None",
      "os.read = os.write = time.monotonic = time.time = None",
      "_thread.get_ident = None",
      "sys.modules.clear()",
      "for name in ('len', 'str', 'int', 'dict', 'isinstance', 'hasattr', 'bytes'): setattr(builtins, name, None)",
      "return 1",
    ].join("\n"),
    hello: { code: 'return "Hello " + name', parameters: ["name"] },
  });
  const { client } = server;
  await client.call("vandal");
  // What is left of Python for user code is the vandal's doing; the server still answers each call.
  expect((await client.call("hello", { name: "x" })).id).toBeGreaterThan(0);
  await client.ping();
  expect(client.violations).toEqual([]);
});

test("a forked child cannot answer for the server", async () => {
  await using server = await loaded({
    fork: "import os\npid = os.fork()\nif pid == 0:\n    print('from the child')\n    return 'child'\nos.waitpid(pid, 0)\nreturn 'parent'",
    pool: "import multiprocessing as m\nwith m.get_context('fork').Pool(2) as p:\n    return p.map(abs, [-1, -2])",
  });
  const { client } = server;
  expect(await client.result("fork")).toBe("parent");
  expect(await client.result("pool")).toEqual([1, 2]);
  expect(client.violations).toEqual([]);
  expect(client.stdout).toContain("from the child");
});

test("a process that ends itself is seen by the host", async () => {
  await using server = await loaded({ end: "import os\nos._exit(7)" });
  await expect(server.client.call("end")).rejects.toThrow(/closed the channel/);
  expect((await server.client.exited).code).toBe(7);
});
