import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type CliServer, runTreadle, startCliServer } from "./cli-server.ts";

let server: CliServer;
beforeAll(async () => {
  server = await startCliServer();
  const body = {
    functions: {
      echo: { code: 'console.log("got", typeof value); return value;', parameters: { value: {} } },
      sum: { code: "return a + b;", parameters: { a: { type: "integer" }, b: { type: "integer" } } },
      keys: { code: "return Object.keys(a).concat(Object.keys(arguments[0] ?? {}));", parameters: { a: {} } },
      broken: { code: 'console.error("before");\nconst fail = () => { throw new TypeError("bad"); };\nfail();' },
      snake: { language: "python", code: "x = {}\nreturn x[key]", parameters: { key: { type: "string" } } },
      noisy: { code: 'console.log("a\\u001b]0;owned\\u0007b\\nc"); return "\\u001b[2J";' },
      http: {
        contract: "handler",
        files: [
          {
            path: "index.js",
            text: 'module.exports = async ({ req, res }) => req.path === "/bytes" ? res.binary(Buffer.from([0, 255, 10])) : res.json({ method: req.method, path: req.path, query: req.queryString, x: req.headers["x-a"], body: req.bodyText }, req.path === "/missing" ? 404 : 200);',
          },
        ],
      },
    },
  };
  const response = await fetch(`${server.url}/api/v1/workspaces/w`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  expect(await response.text()).toContain('"revision":1');
}, 60_000);
afterAll(() => server?.[Symbol.asyncDispose]());

test("values are JSON when they parse, else text; a text result is printed raw and the log goes to stderr", async () => {
  expect(await server.treadle("run", "w", "echo", "--param", "value=hello")).toEqual({
    status: 0,
    stdout: "hello\n",
    stderr: "  info   got string\n",
  });
  expect(await server.treadle("run", "w", "echo", "--param", 'value={"a":[1]}')).toMatchObject({
    stdout: '{\n  "a": [\n    1\n  ]\n}\n',
    stderr: "  info   got object\n",
  });
  expect((await server.treadle("run", "w", "echo", "-p", "value=a=b")).stdout).toBe("a=b\n");
  expect((await server.treadle("run", "w", "echo", "-p", 'value="3"')).stderr).toBe("  info   got string\n");
  expect((await server.treadle("run", "w", "sum", "-p", "a=2", "-p", "b=40")).stdout).toBe("42\n");
});

test("--params comes as text, from a file or from stdin; --param wins", async ({ onTestFinished }) => {
  expect((await server.treadle("run", "w", "sum", "--params", '{"a":1,"b":2}', "-p", "b=9")).stdout).toBe("10\n");
  expect((await server.treadleWith({ input: '{"a":3,"b":4}' }, "run", "w", "sum", "--params", "-")).stdout).toBe("7\n");
  const file = join(tmpdir(), `treadle-params-${process.pid}.json`);
  onTestFinished(() => rm(file, { force: true }));
  await writeFile(file, '{"a":5,"b":6}');
  expect((await server.treadle("run", "w", "sum", "--params", `@${file}`)).stdout).toBe("11\n");
  const bad = await server.treadle("run", "w", "sum", "--params", "[1]");
  expect(bad).toMatchObject({ status: 1, stdout: "" });
  expect(bad.stderr).toBe(
    "treadle: BAD_REQUEST: --params must be a JSON object.\n  Compare the request with the reference page of the route; the message names the field.\n",
  );
  const missing = await server.treadle("run", "w", "sum", "--params", `@${file}.none`);
  expect(missing.stderr).toContain(`${file}.none cannot be read: ENOENT`);
});

test("--json prints the whole answer, also of a failed execution", async () => {
  const good = await server.treadle("run", "w", "echo", "-p", "value=x", "--json");
  expect(JSON.parse(good.stdout)).toMatchObject({
    result: "x",
    execution: { state: "succeeded", logs: [{ message: "got string" }] },
  });
  expect(good.stderr).toBe("");
  const bad = await server.treadle("run", "w", "broken", "--json");
  expect(bad.status).toBe(1);
  expect(JSON.parse(bad.stdout)).toMatchObject({ execution: { state: "failed", error: { code: "THREW" } } });
  const refused = await server.treadle("run", "w", "sum", "-p", "a=x", "--json");
  expect(refused).toMatchObject({ status: 1, stdout: "" });
  expect(JSON.parse(refused.stderr)).toMatchObject({ error: { code: "INVALID_PARAMETERS", docs: expect.any(String) } });
});

test("what user code threw is told in its own lines, after its log", async () => {
  expect(await server.treadle("run", "w", "broken")).toEqual({
    status: 1,
    stdout: "",
    stderr: [
      "  error  before",
      "treadle: THREW: TypeError: bad (broken, line 2, column 28)",
      "        at fail (broken.js:2:28)",
      "        at broken (broken.js:3:1)",
      "",
    ].join("\n"),
  });
  const python = await server.treadle("run", "w", "snake", "-p", "key=k");
  expect(python.status).toBe(1);
  expect(python.stderr).toMatch(/^treadle: THREW: KeyError: 'k' \(snake, line 2/);
  expect(python.stderr).toContain("snake.py");
});

test("control characters that user code logs do not reach the terminal", async () => {
  const { stdout, stderr } = await server.treadle("run", "w", "noisy");
  expect(stderr).toBe("  info   a\\x1b]0;owned\\x07b\n         c\n");
  // Into a pipe the result goes as it is.
  expect(stdout).toBe("\u001b[2J\n");
});

test("handler functions take a request and print the body", async () => {
  const get = await server.treadle("run", "w", "http", "--path", "/a?b=c", "-H", "X-A: 1");
  expect(get).toMatchObject({ status: 0, stderr: "" });
  expect(JSON.parse(get.stdout)).toEqual({ method: "GET", path: "/a", query: "b=c", x: "1", body: "" });
  const post = await server.treadleWith({ input: "däta" }, "run", "w", "http", "--body", "-");
  expect(JSON.parse(post.stdout)).toMatchObject({ method: "POST", body: "däta" });
  expect(await server.treadle("run", "w", "http", "--path", "/missing", "--method", "put")).toMatchObject({
    status: 0,
    stderr: "  status 404\n",
    stdout: expect.stringContaining('"PUT"'),
  });
  const inline = await server.treadle("run", "w", "sum", "--body", "x");
  expect(inline.stderr).toContain("an inline function takes --param");
  const handler = await server.treadle("run", "w", "http", "-p", "a=1");
  expect(handler.stderr).toContain("a handler function takes --method");
});

test("errors of server, address and usage are told with code and help, status 1", async () => {
  expect(await server.treadle("run", "w", "none")).toEqual({
    status: 1,
    stdout: "",
    stderr:
      'treadle: UNKNOWN_FUNCTION: The workspace w has no function "none".\n  List the workspace\'s functions, or check the spelling.\n',
  });
  expect((await server.treadle("run", "../x", "none")).stderr).toContain("UNKNOWN_WORKSPACE");
  const gone = await server.treadle("run", "w", "sum", "--server", "http://127.0.0.1:9");
  expect(gone.status).toBe(1);
  expect(gone.stderr).toMatch(/^treadle: SERVER_UNREACHABLE: http:\/\/127\.0\.0\.1:9 does not answer: /);
  expect(gone.stderr).toContain("treadle serve");
  const odd = await server.treadle("run", "w", "sum", "--server", "ftp://x");
  expect(odd.stderr).toContain("INVALID_SETTING");
  const usage = await server.treadle("run", "w");
  expect(usage).toMatchObject({ status: 1, stdout: "" });
  expect(usage.stderr).toContain("treadle: missing required argument 'function'");
});

test("serve says why it cannot listen, and leaves its data directory alone", async () => {
  const data = await mkdtemp(join(tmpdir(), "treadle-serve-test-"));
  try {
    const taken = await runTreadle(["serve", "--port", new URL(server.url).port, "--data-dir", data]);
    expect(taken.status).toBe(1);
    expect(taken.stderr).toMatch(/^treadle: INVALID_SETTING: Cannot listen on 127\.0\.0\.1, port \d+: another program/m);
    const odd = await runTreadle([
      "serve",
      "--host",
      "127.0.0.300",
      "--port",
      "0",
      "--data-dir",
      data,
      "--admin-key",
      "k".repeat(32),
    ]);
    expect(odd.status).toBe(1);
    expect(odd.stderr).toMatch(/^treadle: INVALID_SETTING: Cannot listen on 127\.0\.0\.300/m);
    // Nothing it started holds the directory.
    const again = await runTreadle(["serve", "--port", new URL(server.url).port, "--data-dir", data]);
    expect(again.stderr).toContain("another program");
  } finally {
    await rm(data, { recursive: true, force: true });
  }
});

test("--version and --help", async () => {
  expect((await runTreadle(["--version"])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  const help = await runTreadle(["--help"]);
  expect(help.status).toBe(0);
  for (const name of ["serve", "doctor", "deploy", "run", "logs", "file"])
    expect(help.stdout).toMatch(new RegExp(`^  ${name} `, "m"));
});
