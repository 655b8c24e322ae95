import { expect, test } from "vitest";
import { ChannelClient } from "./channel-client.ts";
import { folderOf, nodeCommand, startNode } from "./node-server.ts";

test("says READY, answers PING, and exits when the channel closes", async () => {
  const client = new ChannelClient(await nodeCommand("frames"));
  expect(await client.ready).toEqual({ runtime: "node", version: process.versions.node });
  await client.ping();
  await client[Symbol.asyncDispose]();
  expect(await client.exited).toEqual({ code: 0, signal: null });
});

test("parameters, defaults, siblings, cache and every JSON value", async () => {
  await using client = await startNode({
    functions: {
      hello: { code: 'return "Hello " + name;', parameters: ["name"] },
      defaults: {
        code: "list.push(1); return { list, n, parameters };",
        parameters: ["list", "n"],
        defaults: { list: [], n: 7 },
      },
      twice: "return [await hello({ name: 'a' }), await functions['with-dash']({ x: 1 }), await defaults()];",
      "with-dash": { code: "return x + 1;", parameters: ["x"] },
      recursive: { code: "return n === 0 ? 0 : n + (await recursive({ n: n - 1 }));", parameters: ["n"] },
      count: "cache.n = (cache.n ?? 0) + 1; return cache.n;",
      strict: { code: '"use strict"; return this === undefined;', parameters: ["a"] },
      echo: { code: "return value;", parameters: ["value"] },
      comment: "return 1 // the end",
      nothing: "",
      env: "return process.env.GREETING;",
    },
    environment: { GREETING: "hi" },
  });
  expect(await client.result("hello", { name: "world" })).toBe("Hello world");
  expect(await client.result("defaults")).toEqual({ list: [1], n: 7, parameters: { list: [1], n: 7 } });
  expect(await client.result("defaults", { n: 0 })).toMatchObject({ list: [1], n: 0 });
  expect(await client.result("twice")).toEqual(["Hello a", 2, { list: [1], n: 7, parameters: { list: [1], n: 7 } }]);
  expect(await client.result("recursive", { n: 4 })).toBe(10);
  expect([await client.result("count"), await client.result("count")]).toEqual([1, 2]);
  expect(await client.result("strict")).toBe(true);
  for (const value of [null, 0, "", "ü\u2028\ud83d\ude00", [1, [2]], { a: { b: false } }, "x".repeat(300_000)]) {
    expect(await client.result("echo", { value })).toEqual(value);
  }
  expect(await client.result("comment")).toBe(1);
  expect(await client.result("nothing")).toBeNull();
  expect(await client.result("env")).toBe("hi");
  expect((await client.call("absent")).error).toMatchObject({ code: "UNKNOWN_FUNCTION" });
  expect(client.violations).toEqual([]);
});

test("odd parameter names load and are reachable through parameters", async () => {
  const names = ["class", "a-b", "__proto__", "constructor", "await", "arguments", "let", "parameters", "ok", "ok", ""];
  await using client = await startNode({
    functions: {
      odd: { code: "return [ok, parameters['a-b'], parameters.class, Object.keys(parameters)];", parameters: names },
    },
  });
  const call = client.start("odd", Buffer.from('{"class":1,"a-b":2,"ok":3,"__proto__":4}'));
  expect(JSON.parse(String((await call.answer).result))).toEqual([3, 2, 1, ["class", "a-b", "ok", "__proto__"]]);
});

test.each([
  ["let x = ;", 1, 9, "Unexpected token ';'"],
  ["\n\n\tlet x = @;", 3, 10, "Invalid or unexpected token"],
  ["if (x) {\n  y();", 2, 7, "Unexpected end of input"],
  ["}); evil(); (function(){", 1, 1, "Unexpected token '}'"],
  ["ok();\n} ; evil(); async function x(){", 2, 1, "Unexpected token '}'"],
  ["return 1 }, [globalThis.evil = 1]: async function () {", 1, 10, "Unexpected token '}'"],
  ["const s = `}`; /}/.test(s);\n  }", 2, 3, "Unexpected token '}'"],
  ['import x from "y"', 1, 1, "Cannot use import statement outside a module"],
  ["const name = 1;", 1, 7, "Identifier 'name' has already been declared"],
  ["/* never closed", 1, 1, "Invalid or unexpected token"],
])("a syntax error breaks its own function only: %j", async (code, line, column, message) => {
  const client = new ChannelClient(await nodeCommand("frames"));
  await using _ = client;
  const report = await client.load({
    functions: { good: "return 1;", bad: { code, parameters: ["name"] }, caller: "return await bad({});" },
  });
  const expected = { code: "SYNTAX_ERROR", function: "bad", message };
  expect(report.errors).toEqual({ bad: expect.objectContaining(expected) });
  expect([report.errors.bad?.line, report.errors.bad?.column]).toEqual(
    code.startsWith("/*") ? [1, expect.any(Number)] : [line, column],
  );
  expect(await client.result("good")).toBe(1);
  expect((await client.call("bad")).error).toEqual(report.errors.bad);
  expect((await client.call("caller")).error).toMatchObject(expected);
});

test("names the packages a body imports, and no others", async () => {
  await using client = new ChannelClient(await nodeCommand("frames"));
  const report = await client.load({
    functions: {
      a: "const l = require('lodash/fp'); require(\"fs\"); return require ( /* why */ `@scope/pkg/sub` );",
      b: "const x = (await import('left-pad')).default; await import(\"node:os\"); a?.require?.('opt');",
      c:
        "// require('no1')\n/* require('no2') */ const s = \"require('no3')\"; const r = /require('no4')/; const t = `require('no5') $" +
        "{require('yes')}`; return 4 / 2 / require('div');",
      d: "if (x) /['\"`]/.test(x); return require('after-regex');",
      e: "return require(name) + require('./local') + require('/abs');",
      f: "const o = { a: 1 } / 2; return x++ / require('plus') / 1;",
    },
  });
  expect(report.imports).toEqual({
    a: ["@scope/pkg", "lodash"],
    b: ["left-pad", "opt"],
    c: ["div", "yes"],
    d: ["after-regex"],
    f: ["plus"],
  });
});

test("require and import: built-in, denied, installed, missing", async () => {
  using folder = folderOf({
    "node_modules/cjs/index.js": "module.exports = { kind: 'cjs', os: typeof require('os').cpus };",
    "node_modules/esm/package.json": '{"type":"module","exports":{"import":"./i.js"}}',
    "node_modules/esm/i.js": "export const kind = 'esm';",
    "node_modules/@s/p/sub.js": "exports.kind = 'sub';",
    "node_modules/broken/index.js": "require('not-there');",
    "node_modules/throws/index.js": "throw new Error('at load');",
  });
  await using client = await startNode({
    dependencies: folder.path,
    allowedModules: ["url", "node:stream"],
    functions: {
      r: { code: "return require(m).kind ?? typeof require(m);", parameters: ["m"] },
      i: { code: "return (await import(m)).kind ?? 'module';", parameters: ["m"] },
      caught: "try { require('fs') } catch (error) { return [error.code, error.module]; }",
      resolve: "return require.resolve('cjs');",
    },
  });
  expect(await client.result("r", { m: "node:url" })).toBe("object");
  expect(await client.result("r", { m: "stream/promises" })).toBe("object");
  expect(await client.result("r", { m: "cjs" })).toBe("cjs");
  expect(await client.result("r", { m: "@s/p/sub.js" })).toBe("sub");
  expect(await client.result("i", { m: "esm" })).toBe("esm");
  expect(await client.result("i", { m: "url" })).toBe("module");
  expect(await client.result("resolve")).toBe(`${folder.path}/node_modules/cjs/index.js`);
  for (const name of ["r", "i"]) {
    expect((await client.call(name, { m: "node:fs" })).error).toMatchObject({ code: "IMPORT_DENIED", module: "fs", line: 1 });
    expect((await client.call(name, { m: "absent" })).error).toMatchObject({ code: "MODULE_NOT_FOUND", module: "absent" });
    expect((await client.call(name, { m: "../x" })).error).toMatchObject({ code: "MODULE_NOT_FOUND" });
    expect((await client.call(name, { m: "/etc/passwd" })).error).toMatchObject({ code: "MODULE_NOT_FOUND" });
  }
  expect((await client.call("i", { m: "data:text/javascript,export const kind=1" })).error).toMatchObject({
    code: "MODULE_NOT_FOUND",
  });
  expect((await client.call("r", { m: "broken" })).error).toMatchObject({ code: "MODULE_NOT_FOUND", module: "not-there" });
  expect((await client.call("r", { m: "throws" })).error).toMatchObject({ code: "THREW", message: "at load" });
  expect((await client.call("r", { m: "absent" })).error?.message).toContain("absent");
  expect(await client.result("caught")).toEqual(["IMPORT_DENIED", "fs"]);
  // What was missing is found as soon as it is there: nothing is remembered.
  const { mkdirSync, writeFileSync } = await import("node:fs");
  mkdirSync(`${folder.path}/node_modules/absent`);
  writeFileSync(`${folder.path}/node_modules/absent/index.js`, "exports.kind = 'now';");
  expect(await client.result("r", { m: "absent" })).toBe("now");
});

test("results that have no JSON form, or are too large", async () => {
  await using client = await startNode({
    limits: { resultBytes: 1000 },
    functions: {
      cycle: "const a = {}; a.a = a; return a;",
      bigint: "return { n: 10n };",
      fn: "return () => 1;",
      symbol: "return Symbol('x');",
      deep: "let a = []; for (let i = 0; i < 200000; i++) a = [a]; return a;",
      getter: "return { get x() { throw new Error('in getter'); } };",
      toJSON: "return { toJSON() { return 'form'; } };",
      proxy: "return new Proxy({}, { ownKeys() { throw 1; } });",
      large: "return 'ü'.repeat(600);",
      fits: "return 'x'.repeat(998);",
      huge: "return Array(300).fill('x'.repeat(2 ** 21));",
    },
  });
  for (const name of ["cycle", "bigint", "fn", "symbol", "deep", "getter", "proxy"]) {
    const { error } = await client.call(name);
    expect(error, name).toMatchObject({ code: "RESULT_NOT_SERIALIZABLE", function: name });
    expect(error?.message.length).toBeGreaterThan(20);
  }
  expect(await client.result("toJSON")).toBe("form");
  expect((await client.call("large")).error).toMatchObject({ code: "RESULT_TOO_LARGE" });
  expect(await client.result("fits")).toHaveLength(998);
  expect((await client.call("huge")).error).toMatchObject({ code: "RESULT_TOO_LARGE" });
  expect(client.violations).toEqual([]);
});

test("what is thrown is described in the user's own lines", async () => {
  await using client = await startNode({
    functions: {
      type: "const a = 1;\n  throw new TypeError('boo');",
      later: "await null;\nawait new Promise((r) => setTimeout(r, 1));\n  null.x;",
      viaSibling: "\n\nreturn await type();",
      class: "class MyError extends Error { get name() { return 'Mine'; } }\nthrow new MyError('m');",
      one: "throw 1;",
      none: "throw null;",
      undef: "throw undefined;",
      string: "throw 'text';",
      object: "throw { message: 'no error', a: 1 };",
      trap: "throw new Proxy({}, { get() { throw new Error('trap'); }, getPrototypeOf() { throw new Error('trap'); } });",
      evil: "const e = new Error('x'); Object.defineProperty(e, 'stack', { get() { throw 1; } }); Object.defineProperty(e, 'message', { get() { throw 2; } }); throw e;",
      long: "const e = new Error('y'.repeat(1e6)); throw e;",
      recursion: "const f = () => f(); f();",
      prepared:
        "Error.prepareStackTrace = () => ({ not: 'text' }); try { throw new Error('p'); } finally { setImmediate(() => { Error.prepareStackTrace = undefined; }); }",
    },
  });
  const thrown = async (name: string) => {
    const { error } = await client.call(name);
    expect(error?.code, name).toBe("THREW");
    expect(error?.stack ?? "").not.toMatch(/\.cjs|node:internal/);
    expect(Buffer.byteLength(error?.stack ?? "")).toBeLessThanOrEqual(16 * 1024);
    return error;
  };
  expect(await thrown("type")).toEqual({
    code: "THREW",
    name: "TypeError",
    message: "boo",
    function: "type",
    line: 2,
    column: 9,
    stack: "TypeError: boo\n    at type (type.js:2:9)",
  });
  expect(await thrown("later")).toMatchObject({ name: "TypeError", function: "later", line: 3, column: 8 });
  const nested = await thrown("viaSibling");
  expect(nested).toMatchObject({ function: "type", line: 2 });
  expect(nested?.stack).toContain("viaSibling (viaSibling.js:3:14)");
  expect(await thrown("class")).toMatchObject({ name: "Mine", message: "m", line: 2 });
  expect(await thrown("one")).toMatchObject({ name: "number", message: "1", function: "one" });
  expect(await thrown("none")).toMatchObject({ name: "null", message: "null" });
  expect(await thrown("undef")).toMatchObject({ message: "undefined" });
  expect(await thrown("string")).toMatchObject({ message: "text" });
  expect(await thrown("object")).toMatchObject({ name: "Object", message: "{ message: 'no error', a: 1 }" });
  await thrown("trap");
  await thrown("evil");
  expect((await thrown("long"))?.message.length).toBeLessThanOrEqual(16 * 1024);
  expect(await thrown("recursion")).toMatchObject({ name: "RangeError", function: "recursion" });
  await thrown("prepared");
  expect(client.violations).toEqual([]);
});

test("late throws and rejections end their own execution, or only leave a log entry", async () => {
  await using client = await startNode({
    functions: {
      timer: "setTimeout(() => { throw new Error('from timer'); }, 5); await new Promise(() => {});",
      rejection: "(async () => { await null; throw new Error('rejected'); })(); await new Promise(() => {});",
      emitter:
        "const e = new (require('events'))(); setTimeout(() => e.emit('error', new Error('emitted')), 5); await new Promise(() => {});",
      after: "setTimeout(() => { throw new Error('too late'); }, 20); return 'answered';",
      listener:
        "process.removeAllListeners('uncaughtException'); process.removeAllListeners('unhandledRejection'); setTimeout(() => { Promise.reject(new Error('again')); }, 5); return 1;",
      fine: "await new Promise((r) => setTimeout(r, 60)); return 'fine';",
    },
  });
  const fine = client.result("fine");
  const answers = await Promise.all(["timer", "rejection", "emitter"].map((name) => client.call(name)));
  expect(answers.map(({ error }) => error?.message)).toEqual(["from timer", "rejected", "emitted"]);
  expect(answers[0]?.error).toMatchObject({ code: "THREW", function: "timer", line: 1 });
  expect(answers[0]?.logs).toMatchObject([{ level: 3, text: expect.stringContaining("from timer") }]);
  expect(await client.result("after")).toBe("answered");
  expect(await fine).toBe("fine");
  await expect.poll(() => client.ownerless.map(({ text }) => text).join()).toContain("too late");
  expect(await client.result("listener")).toBe(1);
  await expect.poll(() => client.ownerless.map(({ text }) => text).join()).toContain("again");
  await client.ping();
  expect(client.violations).toEqual([]);
});

test("a cancelled execution is forgotten: its result and logs are nobody's", async () => {
  await using client = await startNode({
    functions: {
      slow: "await new Promise((r) => setTimeout(r, 40)); console.log('after cancel'); return 1;",
      quick: "return 2;",
    },
  });
  const { id, answer } = client.start("slow", Buffer.from("{}"));
  await client.result("quick");
  client.cancel(id);
  expect((await answer).cancelled).toEqual({ running: false });
  await expect.poll(() => client.ownerless.map(({ text }) => text)).toContain("after cancel");
  expect(await client.result("quick")).toBe(2);
  expect(client.violations).toEqual([]);
});

test("a result is not held back by calls that block, and process.exit hands out what is finished", async () => {
  await using client = await startNode({
    functions: {
      quick: "return 1;",
      block: "const end = Date.now() + 150; while (Date.now() < end); return 1;",
      exit: "console.log('last words'); process.exit(7);",
    },
  });
  await client.call("block"); // From now on it is known to be slow.
  const order: string[] = [];
  const started = performance.now();
  const at: Record<string, number> = {};
  const track = (name: string, label: string) =>
    client.call(name).then(() => {
      order.push(label);
      at[label] = performance.now() - started;
    });
  await Promise.all([track("quick", "a"), track("block", "b"), track("quick", "c"), track("block", "d"), client.ping()]);
  expect(order).toEqual(["a", "b", "c", "d"]);
  expect(at.a).toBeLessThan(100);
  expect(at.c).toBeLessThan((at.d as number) - 100);
  await expect(client.call("exit")).rejects.toThrow("closed the channel");
  expect(client.entries.map(({ text }) => text)).toEqual(["last words"]);
  expect((await client.exited).code).toBe(7);
});

test("patched globals and polluted prototypes do not reach the channel", async () => {
  await using client = await startNode({
    functions: {
      patch: `
        const boom = () => { throw new Error("patched"); };
        Array.prototype.push = boom; Array.prototype.map = boom; Array.prototype.join = boom;
        Promise.prototype.then = boom; JSON.stringify = boom; JSON.parse = boom;
        Buffer.from = boom; Buffer.byteLength = boom; Buffer.prototype.write = boom; Buffer.prototype.utf8Slice = boom; Buffer.prototype.copy = boom;
        Map.prototype.get = boom; Map.prototype.set = boom; Map.prototype.delete = boom; Map.prototype.has = boom;
        WeakMap.prototype.get = boom; Date.now = boom; performance.now = boom;
        require("events").prototype.emit = boom; require("fs").writeSync = boom;
        require("async_hooks").AsyncLocalStorage.prototype.getStore = boom; require("async_hooks").AsyncLocalStorage.prototype.run = boom;
        globalThis.setTimeout = globalThis.setImmediate = process.nextTick = boom;
        Object.prototype.toJSON = () => "polluted"; Object.prototype.fd = 9; Object.prototype.error = "polluted"; Object.prototype.level = 9;
        Object.defineProperty(Object.prototype, "get", { value: boom, configurable: true, writable: true });
        return 1;`,
      hello: { code: "console.log('said', name); return 'Hello ' + name;", parameters: ["name"] },
      fails: "throw new Error('own');",
    },
  });
  expect(await client.result("patch")).toBe(1);
  const answer = await client.call("hello", { name: "w" });
  expect(String(answer.result)).toBe('"Hello w"');
  expect(answer.logs.map(({ text }) => text)).toEqual(["said w"]);
  expect((await client.call("fails")).error).toMatchObject({ code: "THREW", message: "own" });
  expect((await client.call("absent")).error).toMatchObject({ code: "UNKNOWN_FUNCTION" });
  await client.ping();
  expect(client.violations).toEqual([]);
  expect(client.stderr).toBe("");
});

test("frames arrive in pieces and in bulk", async () => {
  await using client = await startNode({
    functions: { size: { code: "return value.length;", parameters: ["value"] } },
  });
  const sizes = [0, 1, 100, 65_520, 65_536, 200_000, 5_000_000];
  const calls = [...sizes, ...sizes, ...sizes].map((size) => client.result("size", { value: "x".repeat(size) }));
  expect(await Promise.all(calls)).toEqual([...sizes, ...sizes, ...sizes]);
  const many = await Promise.all(Array.from({ length: 3000 }, (_, i) => client.result("size", { value: "y".repeat(i % 7) })));
  expect(many).toEqual(many.map((_, i) => i % 7));
  expect(client.violations).toEqual([]);
});

test("what was behind an error is told with it", async () => {
  await using client = await startNode({
    functions: {
      wrapped: `throw new Error("outer", { cause: new Error("inner") });`,
      trap: `throw Object.defineProperty(new Error("outer"), "cause", { get() { throw 1; } });`,
    },
  });
  expect((await client.call("wrapped")).error).toMatchObject({ code: "THREW", message: "outer (cause: inner)" });
  expect((await client.call("trap")).error).toMatchObject({ code: "THREW", message: "outer" });
});
