import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import type { LoadOptions } from "./channel-client.ts";
import { LEVEL } from "./channel-client.ts";
import { python, startPython } from "./python-server.ts";

async function handler(files: Record<string, string>, options: LoadOptions = {}) {
  const directory = await mkdtemp(join(tmpdir(), "treadle-python-handler-"));
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(directory, name)), { recursive: true });
    await writeFile(join(directory, name), text);
  }
  const client = startPython();
  const report = await client.load({ contract: "handler", directory, entrypoint: "main.py", ...options });
  return {
    client,
    report,
    directory,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await rm(directory, { recursive: true });
    },
  };
}

const ECHO = `
def main(context):
    req = context.req
    return context.res.json({
        "method": req.method, "url": req.url, "scheme": req.scheme, "host": req.host, "port": req.port, "path": req.path,
        "query": req.query, "queryString": req.query_string, "headers": req.headers, "text": req.body_text,
        "binary": list(req.body_binary), "body": req.body,
    })
`;

async function json(server: Awaited<ReturnType<typeof handler>>, ...request: Parameters<typeof server.client.request>) {
  const { response, error } = await server.client.request(...request);
  if (response === undefined) throw new Error(JSON.stringify(error));
  return JSON.parse(response.body.toString());
}

test("the example answers with its language", async () => {
  await using client = startPython();
  const directory = join(import.meta.dirname, "../python/example");
  expect(await client.load({ contract: "handler", directory, entrypoint: python.defaultEntrypoint })).toEqual({
    errors: {},
    imports: { "": [] },
  });
  const { response, logs } = await client.request({ method: "POST", url: "http://localhost/x" });
  expect(response?.statusCode).toBe(200);
  expect(response?.headers).toContainEqual(["content-type", "application/json; charset=utf-8"]);
  expect(JSON.parse(response?.body.toString() ?? "")).toMatchObject({ language: "python" });
  expect(logs.map((entry) => entry.text)).toEqual(["called with POST /x"]);
});

test("the request: address, query, headers and body", async () => {
  await using server = await handler(
    { "main.py": ECHO },
    { environment: { OPEN_RUNTIMES_HEADERS: '{"X-Custom":"forced","x-open-runtimes-own":248}' } },
  );
  const all = await json(
    server,
    {
      method: "PUT",
      url: "http://www.example.com:3001/a/b?c=d&e==f&k&&g=h=i&j=%20#fragment",
      headers: { Host: "www.example.com:3001", "X-FORWARDED-PROTO": "https", "X-Open-Runtimes-Secret": "s", "x-custom": "sent" },
    },
    "Hello 👋",
  );
  expect(all).toMatchObject({
    method: "PUT",
    url: "https://www.example.com:3001/a/b?c=d&e==f&k&&g=h=i&j=%20",
    scheme: "https",
    host: "www.example.com",
    port: 3001,
    path: "/a/b",
    query: { c: "d", e: "=f", k: "", g: "h=i", j: "%20" },
    queryString: "c=d&e==f&k&&g=h=i&j=%20",
    text: "Hello 👋",
    body: "Hello 👋",
    headers: { host: "www.example.com:3001", "x-custom": "forced", "x-open-runtimes-own": "248" },
  });
  expect(all.headers).not.toHaveProperty("x-open-runtimes-secret");
  for (const [proto, host, port, url] of [
    ["http", "myapp.com:80", 80, "http://myapp.com/"],
    ["https", "myapp.com:443", 443, "https://myapp.com/"],
    ["https", "myapp.com:80", 80, "https://myapp.com:80/"],
    ["https", "myapp.com", 443, "https://myapp.com/"],
    ["http", "[::1]:3000", 3000, "http://[::1]:3000/"],
  ] as const) {
    const headers = { host, "x-forwarded-proto": proto };
    expect(await json(server, { url: "/", headers })).toMatchObject({ port, url });
  }
  const typed = (type: string, body: string) => json(server, { headers: { "content-type": type } }, body);
  expect((await typed("ApPlIcAtIoN/JSON; charset=utf-8", '{"a":[1]}')).body).toEqual({ a: [1] });
  expect((await typed("application/json", "")).body).toEqual({});
  expect((await typed("not-application/json", '{"a":1}')).body).toBe('{"a":1}');
  expect((await server.client.request({ headers: { "content-type": "application/json" } }, "{bad")).error).toMatchObject({
    code: "THREW",
    message: expect.stringMatching(/json/i),
  });
});

test("responses: types, statuses, headers, cookies", async () => {
  await using server = await handler({
    "main.py": `
async def main(context):
    res = context.res
    res.text("ignored, as it is not returned")
    return {
        "/text": lambda: res.text("Hello 👋"),
        "/upper": lambda: res.text("ÅÆ", 201, {"Content-Type": "TEXT/PLAIN"}),
        "/charset": lambda: res.text("x", 200, {"content-type": "text/plain; charset=iso-8859-1"}),
        "/multipart": lambda: res.text("--aB--", 200, {"content-type": "Multipart/form-data; boundary=aB"}),
        "/json": lambda: res.json({"a": [1, "é"]}, 418),
        "/binary": lambda: res.binary(bytearray([0, 10, 255])),
        "/bytes": lambda: res.send(b"\\x89PNG", 200, {"content-type": "image/png"}),
        "/redirect": lambda: res.redirect("https://example.com/"),
        "/empty": lambda: res.empty(),
        "/cookies": lambda: res.text("", 200, {"set-cookie": ["a=1; path=/", "b=2"], "X-Open-Runtimes-Own": "1", "n": 5, "connection": "x"}),
        "/split": lambda: res.text("", 200, {"x": "a\\r\\nb: c"}),
        "/name": lambda: res.text("", 200, {"x y": "a"}),
        "/status": lambda: res.text("", 99),
        "/none": lambda: None,
        "/dict": lambda: {"a": 1},
    }[context.req.path]()
`,
  });
  const get = (path: string) => server.client.request({ url: `http://localhost${path}` });
  const seen = async (path: string) => {
    const { response } = await get(path);
    return [response?.statusCode, response?.body.toString(), Object.fromEntries(response?.headers ?? [])["content-type"]];
  };
  expect(await seen("/text")).toEqual([200, "Hello 👋", "text/plain; charset=utf-8"]);
  expect(await seen("/upper")).toEqual([201, "ÅÆ", "text/plain; charset=utf-8"]);
  expect(await seen("/charset")).toEqual([200, "x", "text/plain; charset=iso-8859-1"]);
  expect(await seen("/multipart")).toEqual([200, "--aB--", "multipart/form-data; boundary=aB"]);
  expect(await seen("/json")).toEqual([418, '{"a":[1,"é"]}', "application/json; charset=utf-8"]);
  expect([...((await get("/binary")).response?.body ?? [])]).toEqual([0, 10, 255]);
  expect((await get("/bytes")).response?.headers).toContainEqual(["content-type", "image/png; charset=utf-8"]);
  expect((await get("/redirect")).response).toMatchObject({
    statusCode: 301,
    headers: expect.arrayContaining([["location", "https://example.com/"]]),
  });
  expect((await get("/empty")).response).toMatchObject({ statusCode: 204 });
  expect((await get("/cookies")).response?.headers).toEqual([
    ["content-type", "text/plain; charset=utf-8"],
    ["set-cookie", "a=1; path=/"],
    ["set-cookie", "b=2"],
    ["n", "5"],
  ]);
  for (const [path, message] of [
    ["/split", /line break/],
    ["/name", /not valid/],
    ["/status", /200 to 599/],
    ["/none", /Return statement missing\./],
    ["/dict", /type dict/],
  ] as const) {
    expect((await get(path)).error).toMatchObject({ code: "THREW", message: expect.stringMatching(message) });
  }
});

test("context.log and context.error join their arguments; logging can be off", async () => {
  await using server = await handler({
    "main.py": `
def main(context):
    context.log("engine:", {"a": 1}, [True], 4.2)
    context.error("bad", 1)
    context.log("two\\nlines")
    return context.res.empty()
`,
  });
  const { logs } = await server.client.request({});
  expect(logs.map((entry) => [entry.level, entry.text])).toEqual([
    [LEVEL.info, 'engine: {"a":1} [true] 4.2'],
    [LEVEL.error, "bad 1"],
    [LEVEL.info, "two\nlines"],
  ]);
  expect((await server.client.request({ logging: false })).logs).toEqual([]);
});

test("async mains wait at the same time, blocking ones do not hold back others", async () => {
  await using server = await handler({
    "main.py": `
import asyncio, functools, time
def wrapped(f):
    @functools.wraps(f)
    def g(*args):
        return f(*args)
    return g
@wrapped
async def main(context):
    if context.req.path == "/block":
        await asyncio.to_thread(time.sleep, 0.5)
    await asyncio.sleep(0.2)
    print(context.req.query_string)
    return context.res.text("done")
`,
  });
  await server.client.request({});
  const begun = performance.now();
  const answers = await Promise.all(Array.from({ length: 200 }, (_, n) => server.client.request({ url: `http://h/?${n}` })));
  expect(performance.now() - begun).toBeLessThan(1500);
  for (const [n, { logs }] of answers.entries()) expect(logs.map((entry) => entry.text)).toEqual([String(n)]);
  expect(server.client.violations).toEqual([]);
});

test("the older form with (req, res)", async () => {
  await using server = await handler(
    {
      "src/old.py": `
def main(req, res):
    if req.headers.get("x-json"):
        return res.json({"payload": req.payload, "env": req.env["KEY"]}, 201)
    res.send("sent " + req.payload, 202)
`,
    },
    { entrypoint: "src/old.py", environment: { KEY: "value" } },
  );
  expect((await server.client.request({}, "p")).response).toMatchObject({ statusCode: 202, body: Buffer.from("sent p") });
  const { response } = await server.client.request({ headers: { "x-json": "1" } }, "p");
  expect(response?.statusCode).toBe(201);
  expect(response?.body.toString()).toBe('{"payload":"p","env":"value"}');
});

test("neighbouring files and dependencies are imported; packages are reported", async () => {
  const dependencies = await mkdtemp(join(tmpdir(), "treadle-python-packages-"));
  await writeFile(join(dependencies, "installed.py"), "value = 3\n");
  await using server = await handler(
    {
      "src/my-main.py":
        "import installed, local, os.path\nfrom .local import one\nfrom . import deep\nfrom .deep.x import two\ndef main(context):\n    return context.res.json([one, two, installed.value, local.one])\n",
      "src/local.py": "one = 1\n",
      "src/deep/x.py": "from ..local import one\ntwo = one + 1\n",
    },
    { entrypoint: "src/my-main.py", dependencies },
  );
  expect(server.report).toEqual({ errors: {}, imports: { "": ["installed"] } });
  expect(await json(server, {})).toEqual([1, 2, 3, 1]);
  await rm(dependencies, { recursive: true });
});

test("what keeps a handler from loading is told apart", async () => {
  const failures: [Record<string, string>, LoadOptions, object][] = [
    [{ "main.py": "x = 1\ndef main(:\n" }, {}, { code: "SYNTAX_ERROR", line: 2, column: 10 }],
    [{ "main.py": "import nosuchpackage\n" }, {}, { code: "MODULE_NOT_FOUND", module: "nosuchpackage" }],
    [
      { "main.py": "import broken\n", "broken.py": "def f(:\n" },
      {},
      { code: "SYNTAX_ERROR", file: "broken.py", line: 1, column: 7 },
    ],
    [{ "main.py": "raise ValueError('at load')\n" }, {}, { code: "LOAD_FAILED", message: "at load", name: "ValueError" }],
    [{ "main.py": "import sys; sys.exit(3)\n" }, {}, { code: "LOAD_FAILED" }],
    [{ "main.py": "x = 1\n" }, {}, { code: "LOAD_FAILED", message: expect.stringContaining("'main'") }],
    [{ "main.py": "" }, { entrypoint: "other.py" }, { code: "LOAD_FAILED", message: expect.stringContaining("other.py") }],
    [{ "main.py": "" }, { entrypoint: "../../etc/passwd" }, { code: "LOAD_FAILED" }],
  ];
  for (const [files, options, error] of failures) {
    await using server = await handler(files, options);
    expect(server.report.errors[""]).toMatchObject(error);
    expect((await server.client.request({})).error).toEqual(server.report.errors[""]);
  }
});

test("a throw gives name, message and the user's lines; a cancelled main ends", async () => {
  await using server = await handler({
    "main.py":
      "import asyncio\nasync def main(context):\n    if context.req.path == '/wait':\n        await asyncio.sleep(60)\n    raise KeyError('gone')\n",
  });
  const { error } = await server.client.request({});
  expect(error).toMatchObject({ code: "THREW", name: "KeyError" });
  expect(error?.stack).toMatch(/main\.py", line 5, in main/);
  expect(error?.stack).not.toMatch(/treadle_runtime/);
  const waiting = server.client.request({ url: "http://h/wait" });
  await new Promise((resolve) => setTimeout(resolve, 100));
  // Ids count up from 1: LOAD, the first request, this one.
  server.client.cancel(3);
  expect((await waiting).cancelled).toEqual({ running: false });
});
