import { mkdirSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ChannelClient, LEVEL } from "./channel-client.ts";
import { HANDLER } from "./node-handler-source.ts";
import { folderOf, nodeCommand, startNode } from "./node-server.ts";

/** Loads a folder and makes one request; resolves to the load errors or the response's text. */
async function oneRequest(files: Record<string, string>, entrypoint = "index.js", dependencies?: string): Promise<unknown> {
  using folder = folderOf(files);
  await using client = new ChannelClient(await nodeCommand("frames"));
  const options = { contract: "handler", directory: folder.path, entrypoint, ...(dependencies && { dependencies }) } as const;
  const { errors } = await client.load(options);
  if (errors[""] !== undefined) {
    expect((await client.request({})).error).toEqual(errors[""]);
    return errors[""];
  }
  const answer = await client.request({}, "payload");
  return answer.response?.body.toString() ?? answer.error;
}

test.each([
  ["module.exports", { "index.js": "module.exports = ({ res }) => res.text('a');" }, "index.js", "a"],
  ["exports.main", { "index.js": "exports.main = ({ res }) => res.text('b');" }, "index.js", "b"],
  ["export default in .js", { "index.js": "export default ({ res }) => res.text('c');" }, "index.js", "c"],
  [
    "export default with await at the top",
    { "src/x.mjs": "const t = await Promise.resolve('d'); export default ({ res }) => res.text(t);" },
    "src/x.mjs",
    "d",
  ],
  [
    "a module of its own beside it",
    { "index.js": "module.exports = ({ res }) => res.text(require('./lib').t);", "lib.js": "exports.t = 'e';" },
    "index.js",
    "e",
  ],
  [
    "the older form",
    { "index.js": "module.exports = (req, res) => { setTimeout(() => res.send(req.payload, 201), 5); };" },
    "index.js",
    "payload",
  ],
  [
    "the older form with json",
    { "index.js": "module.exports = async (req, res) => { res.json({ path: typeof req.env.PATH, h: req.headers }); };" },
    "index.js",
    '{"path":"string","h":{}}',
  ],
])("loads %s", async (_, files, entrypoint, expected) => {
  expect(await oneRequest(files as unknown as Record<string, string>, entrypoint)).toBe(expected);
});

test.each([
  ["no file", {}, "index.js", { code: "LOAD_FAILED", message: expect.stringContaining("does not exist") }],
  ["a path out of the folder", {}, "../../etc/passwd", { code: "LOAD_FAILED", message: expect.stringContaining("outside") }],
  [
    "no export",
    { "index.js": "const a = 1;" },
    "index.js",
    { code: "LOAD_FAILED", message: expect.stringContaining("exports no function") },
  ],
  [
    "a throw",
    { "index.js": "\nthrow new RangeError('top');" },
    "index.js",
    { code: "LOAD_FAILED", name: "RangeError", message: "top", line: 2 },
  ],
  ["a syntax error", { "a/b.js": "let a;\nlet x = ;" }, "a/b.js", { code: "SYNTAX_ERROR", file: "a/b.js", line: 2, column: 9 }],
  [
    "a syntax error in another file",
    { "index.js": "module.exports = require('./lib/a.js');", "lib/a.js": "module.exports = {\n  x: ;\n}" },
    "index.js",
    { code: "SYNTAX_ERROR", file: "lib/a.js", line: 2, column: 6 },
  ],
  [
    "a syntax error in a module",
    { "b.mjs": "export default 1;\n  let x = ;" },
    "b.mjs",
    { code: "SYNTAX_ERROR", file: "b.mjs", line: 2, column: 11 },
  ],
  [
    "a package that is missing",
    { "index.js": "require('not-there/x');" },
    "index.js",
    { code: "MODULE_NOT_FOUND", module: "not-there" },
  ],
  [
    "a missing package in a module",
    { "a.mjs": "import 'not-there';" },
    "a.mjs",
    { code: "MODULE_NOT_FOUND", module: "not-there" },
  ],
])("says why it does not load: %s", async (_, files, entrypoint, expected) => {
  expect(await oneRequest(files as unknown as Record<string, string>, entrypoint)).toMatchObject(expected);
});

test("packages are found in the dependencies' folder, from both module systems", async () => {
  using dependencies = folderOf({});
  mkdirSync(`${dependencies.path}/node_modules/dep`, { recursive: true });
  writeFileSync(`${dependencies.path}/node_modules/dep/index.js`, "exports.t = 'from dep';");
  const cjs = { "index.js": "const { t } = require('dep'); module.exports = ({ res }) => res.text(t);" };
  const esm = { "index.mjs": "import { t } from 'dep'; export default ({ res }) => res.text(t);" };
  expect(await oneRequest(cjs, "index.js", dependencies.path)).toBe("from dep");
  expect(await oneRequest(esm, "index.mjs", dependencies.path)).toBe("from dep");
});

test("request, response, errors and logs", async () => {
  using folder = folderOf({ "index.js": HANDLER });
  await using client = await startNode({
    contract: "handler",
    directory: folder.path,
    entrypoint: "index.js",
    environment: { OPEN_RUNTIMES_HEADERS: '{"X-Forced":1}' },
    limits: { resultBytes: 100_000 },
  });
  const act = (
    action: string,
    options: { url?: string; headers?: Record<string, string>; body?: string | Buffer; logging?: boolean } = {},
  ) =>
    client.request(
      { method: "POST", ...options, headers: { "x-action": action, "x-open-runtimes-secret": "s", ...options.headers } },
      options.body,
    );
  const plain = await act("plain");
  expect(plain.response).toMatchObject({ statusCode: 200, headers: [["content-type", "text/plain; charset=utf-8"]] });
  expect(plain.response?.body.toString()).toBe("Hello World 👋");
  expect((await act("binary")).response).toMatchObject({
    headers: [["content-type", "image/png; charset=utf-8"]],
    body: Buffer.from([0, 10, 255]),
  });
  expect((await act("cookies")).response?.headers).toEqual([
    ["set-cookie", "a=1"],
    ["set-cookie", "b=2"],
    ["content-type", "text/plain; charset=utf-8"],
  ]);
  const request = await act("request", { url: "https://a.b:8443/p%20q?x==1&y&z=%20#frag", headers: { "X-Mixed": "v" } });
  expect(JSON.parse(String(request.response?.body))).toEqual({
    method: "POST",
    bodyText: "",
    headers: { "x-action": "request", "x-mixed": "v", "x-forced": "1" },
    scheme: "https",
    host: "a.b",
    port: 8443,
    path: "/p%20q",
    query: { x: "=1", y: "", z: "%20" },
    queryString: "x==1&y&z=%20",
    url: "https://a.b:8443/p%20q?x==1&y&z=%20",
  });
  const logged = await act("logs");
  expect(logged.logs.map(({ level, text }) => [level, text])).toEqual([
    [LEVEL.info, 'a 1 {"k":["v"]} true'],
    [LEVEL.error, "bad"],
    [LEVEL.info, "native"],
    [LEVEL.info, "written"],
  ]);
  expect((await act("logs", { logging: false })).logs).toEqual([]);
  const threw = await act("throws");
  expect(threw.error).toMatchObject({ code: "THREW", message: "Error!", line: 24 });
  expect(threw.error?.stack).toContain("(index.js:24:");
  expect(threw.logs.map(({ text }) => text)).toEqual(["before", expect.stringContaining("Error: Error!")]);
  const nothing = await act("nothing");
  expect(nothing.error?.message).toContain("Return statement missing.");
  expect(nothing.logs[0]).toMatchObject({ level: LEVEL.error, text: expect.stringContaining("Return statement missing.") });
  for (const action of ["number", "badStatus", "badHeader", "inTimer", "absent"])
    expect((await act(action)).error?.code, action).toBe("THREW");
  const big = Buffer.alloc(90_000, 7);
  expect((await act("echo", { body: big })).response?.body.equals(big)).toBe(true);
  expect((await act("echo", { body: Buffer.alloc(100_001) })).error?.code).toBe("RESULT_TOO_LARGE");
  expect(client.violations).toEqual([]);
});

test("what an ES module writes to file descriptor 1 is its execution's", async () => {
  const source =
    "import { writeSync } from 'node:fs'; export default ({ res }) => { writeSync(1, 'written\\n'); return res.empty(); };";
  using folder = folderOf({ "index.mjs": source });
  await using client = await startNode({ contract: "handler", directory: folder.path, entrypoint: "index.mjs" });
  const { response, logs } = await client.request({});
  expect(response).toMatchObject({ statusCode: 204, body: Buffer.alloc(0) });
  expect(logs.map(({ text }) => text)).toEqual(["written"]);
});

test("the example answers", async () => {
  await using client = await startNode({
    contract: "handler",
    directory: `${import.meta.dirname}/../node/example`,
    entrypoint: "index.js",
  });
  const { response, logs } = await client.request({ url: "http://x/?name=you" });
  expect(JSON.parse(String(response?.body))).toEqual({ message: "Hello you", language: "node" });
  expect(logs.map(({ text }) => text)).toEqual(["GET /"]);
});
