import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { type IncomingHttpHeaders, type RequestOptions, request } from "node:http";
import { createServer } from "node:net";
import { expect, test } from "vitest";
import { HANDLER } from "./node-handler-source.ts";
import { folderOf, nodeCommand } from "./node-server.ts";

interface Reply {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
  text: string;
}

interface Server extends AsyncDisposable {
  pid: number;
  logs: string;
  stdout(): string;
  send(options?: RequestOptions & { action?: string; body?: string | Buffer }): Promise<Reply>;
  log(reply: Reply, kind: "logs" | "errors"): string;
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as { port: number };
  probe.close();
  return port;
}

/** An HTTP runtime server on a folder with these files: on a free port, or on a unix socket. */
async function serve(files: Record<string, string>, environment: Record<string, string> = {}, unix = false): Promise<Server> {
  const folder = folderOf({ ...files, "logs/.keep": "" });
  const [program, ...args] = await nodeCommand("http");
  const target: RequestOptions = unix ? { socketPath: `${folder.path}/s.sock` } : { host: "127.0.0.1", port: await freePort() };
  const child = spawn(program as string, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...(unix ? { TREADLE_SOCKET: target.socketPath as string } : { PORT: String(target.port) }),
      TREADLE_CODE: folder.path,
      TREADLE_LOGS: `${folder.path}/logs`,
      ...environment,
    },
  });
  const exited = once(child, "exit");
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    stdout += text;
  });
  await expect.poll(() => stdout, { timeout: 5000 }).toContain("HTTP server successfully started!");
  const logs = `${folder.path}/logs`;
  return {
    pid: child.pid as number,
    logs,
    stdout: () => stdout,
    send: ({ action, body, headers, ...options } = {}) =>
      new Promise((resolve, reject) => {
        const outgoing = request(
          {
            ...target,
            path: "/",
            method: "POST",
            agent: false,
            ...options,
            headers: { ...(action && { "x-action": action }), ...(headers as object) },
          },
          async (response) => {
            const chunks: Buffer[] = [];
            for await (const chunk of response) chunks.push(chunk);
            const bytes = Buffer.concat(chunks);
            resolve({ status: response.statusCode as number, headers: response.headers, body: bytes, text: bytes.toString() });
          },
        );
        outgoing.on("error", reject);
        outgoing.end(body);
      }),
    log: (reply, kind) => {
      const file = `${logs}/${reply.headers["x-open-runtimes-log-id"]}_${kind}.log`;
      return existsSync(file) ? readFileSync(file, "utf8") : "";
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
      folder[Symbol.dispose]();
    },
  };
}

test.each([["TCP", false] as const, ["a unix socket", true] as const])("Open Runtimes v5 over %s", async (_, unix) => {
  await using server = await serve(
    { "index.js": HANDLER },
    { OPEN_RUNTIMES_SECRET: "s3cret", OPEN_RUNTIMES_HEADERS: '{"X-Custom":"value","x-open-runtimes-custom":248}' },
    unix,
  );
  const headers = { "x-open-runtimes-secret": "s3cret", host: "localhost:3000" };
  const act = (action: string, options: RequestOptions & { body?: string | Buffer } = {}) =>
    server.send({ ...options, action, headers: { ...headers, ...(options.headers as object) } });

  expect((await server.send({ path: "/__opr/health", method: "GET" })).text).toBe("OK");
  expect((await server.send({ path: "/__opr/timings", method: "GET" })).text).toMatch(/^load=\d+\.\d+\n$/);

  for (const wrong of [{}, { "x-open-runtimes-secret": "s3cre" }, { "x-open-runtimes-secret": "s3cret1" }]) {
    const refused = await server.send({ action: "plain", headers: wrong });
    expect([refused.status, refused.headers["content-type"]]).toEqual([500, "text/plain; charset=utf-8"]);
    expect(refused.text).toContain("Unauthorized");
  }
  expect((await act("secret")).text).toBe("undefined");
  for (const value of ["abcd", "0", "-1", "1.5", "1e3", "99999999999999"]) {
    const refused = await act("plain", { headers: { "x-open-runtimes-timeout": value } });
    expect([refused.status, refused.text]).toEqual([500, 'Header "x-open-runtimes-timeout" must be an integer greater than 0.']);
  }

  const plain = await act("plain");
  expect([plain.status, plain.text, plain.headers["content-type"]]).toEqual([200, "Hello World 👋", "text/plain; charset=utf-8"]);
  const json = await act("json");
  expect([json.text, json.headers["content-type"]]).toEqual([
    '{"json":true,"nested":[{"a":1}]}',
    "application/json; charset=utf-8",
  ]);
  expect((await act("charset")).headers["content-type"]).toBe("text/plain; charset=iso-8859-1");
  expect((await act("upper")).headers["content-type"]).toBe("text/html; charset=utf-8");
  expect((await act("multipart")).headers["content-type"]).toBe("multipart/form-data; boundary=AbC");
  const redirect = await act("redirect");
  expect([redirect.status, redirect.text, redirect.headers.location]).toEqual([301, "", "https://example.org/"]);
  expect(await act("empty")).toMatchObject({ status: 204, text: "" });
  expect(await act("twice")).toMatchObject({ status: 200, text: "second" });
  expect(await act("status")).toMatchObject({ status: 404, text: "FAIL" });
  const cookies = await act("cookies");
  expect(cookies.headers["set-cookie"]).toEqual(["a=1", "b=2"]);
  expect(cookies.headers).not.toHaveProperty("x-open-runtimes-out");
  expect((await act("binary")).body).toEqual(Buffer.from([0, 10, 255]));

  const nothing = await act("nothing");
  expect([nothing.status, nothing.text]).toEqual([500, ""]);
  expect(server.log(nothing, "errors")).toContain("Return statement missing.");
  const threw = await act("throws");
  expect([threw.status, threw.text, server.log(threw, "logs")]).toEqual([500, "", "before\n"]);
  expect(server.log(threw, "errors")).toMatch(/Error: Error!\n\s+at .*index\.js:24/);
  const unknown = await act("bad");
  expect([unknown.status, server.log(unknown, "logs")]).toEqual([500, ""]);
  expect((await act("badHeader")).status).toBe(500);

  const seen = JSON.parse(
    (
      await act("request", {
        path: "/a/b?c=d&e==f&k&&=x#frag",
        headers: { "X-Up": "v", host: "a.b:3001", "x-forwarded-proto": "https" },
      })
    ).text,
  );
  expect(seen).toMatchObject({
    method: "POST",
    scheme: "https",
    host: "a.b",
    port: 3001,
    path: "/a/b",
    queryString: "c=d&e==f&k&&=x",
    query: { c: "d", e: "=f", k: "" },
    url: "https://a.b:3001/a/b?c=d&e==f&k&&=x",
  });
  expect(seen.headers).toMatchObject({ "x-up": "v", "x-custom": "value", "x-open-runtimes-custom": "248" });
  expect(seen.headers).not.toHaveProperty("x-open-runtimes-secret");
  expect(JSON.parse((await act("request", { headers: { host: "a.b:80", "x-custom": "IGNORED" } })).text)).toMatchObject({
    port: 80,
    url: "http://a.b/",
    headers: { "x-custom": "value" },
  });

  const type = (value: string) => ({ headers: { "content-type": value } });
  expect(JSON.parse((await act("body", { ...type("Application/JSON"), body: '{"a":1}' })).text).body).toEqual({ a: 1 });
  expect(JSON.parse((await act("body", { ...type("application/json"), body: "" })).text).body).toEqual({});
  expect(JSON.parse((await act("body", { ...type("not-application/json"), body: '{"a":1}' })).text).body).toBe('{"a":1}');
  expect((await act("bodyJson", { body: '{"x":[1]}' })).text).toBe('{"x":[1]}');
  for (const body of ['{"broken', ""]) {
    const invalid = await act("bodyJson", { ...type("application/json"), body });
    expect([invalid.status, invalid.text]).toEqual([500, ""]);
    expect(server.log(invalid, "errors").toLowerCase()).toContain("json");
  }
  const large = Buffer.alloc(17 * 1024 * 1024, 1);
  expect((await act("echo", { body: large })).body.equals(large)).toBe(true);
  expect((await act("echo", { body: Buffer.alloc(20 * 1024 * 1024 + 1) })).status).toBe(413);

  const logged = await act("logs");
  expect(logged.headers["x-open-runtimes-log-id"]).toHaveLength(20);
  expect(server.log(logged, "logs")).toBe('a 1 {"k":["v"]} true\nnative\nwritten\n');
  expect(server.log(logged, "errors")).toBe("bad\n");
  expect(server.log(await act("long"), "logs")).toBe(
    `${"x".repeat(8000)}... Log truncated due to size limit (8000 characters)\n`,
  );
  expect((await act("logs", { headers: { "x-open-runtimes-logging": "disabled" } })).headers["x-open-runtimes-log-id"]).toBe("");
  const custom = await act("logs", { headers: { "x-open-runtimes-log-id": "customLogs" } });
  expect([custom.headers["x-open-runtimes-log-id"], server.log(custom, "errors")]).toEqual(["customLogs", "bad\n"]);
  for (const id of ["../escaped", "/tmp/escaped", "a/b", "x".repeat(65), ".."]) {
    const reply = await act("logs", { headers: { "x-open-runtimes-log-id": id } });
    expect(reply.headers["x-open-runtimes-log-id"]).toMatch(/^[a-z0-9]{20}$/);
  }
  expect(readdirSync(`${server.logs}/..`).sort()).toEqual(["index.js", "logs", ...(unix ? ["s.sock"] : [])]);
});

test("timeouts, also of code that blocks; late throws; each line in its own log", async () => {
  await using server = await serve({ "index.js": HANDLER });
  const timeout = { headers: { "x-open-runtimes-timeout": "1" } };
  const slow = await server.send({ action: "slow", ...timeout });
  expect([slow.status, slow.text, server.log(slow, "logs")]).toEqual([500, "", "start\n"]);
  expect(server.log(slow, "errors")).toContain("Execution timed out.");
  const patient = await server.send({ action: "slow", headers: { "x-open-runtimes-timeout": "5" } });
  expect([patient.status, server.log(patient, "logs")]).toEqual([200, "start\nend\n"]);
  const block = await server.send({ action: "block", ...timeout });
  expect([block.status, server.log(block, "errors")]).toEqual([500, "Execution timed out.\n"]);

  expect((await server.send({ action: "late" })).status).toBe(200);
  await expect.poll(() => server.stdout()).toContain("too late");
  const inTimer = await server.send({ action: "inTimer" });
  expect([inTimer.status, server.log(inTimer, "errors")]).toEqual([500, expect.stringContaining("in timer")]);

  const replies = await Promise.all(Array.from({ length: 50 }, () => server.send({ action: "logs" })));
  for (const reply of replies) expect(server.log(reply, "logs")).toBe('a 1 {"k":["v"]} true\nnative\nwritten\n');
  // Neither refused nor answered requests leave file descriptors behind.
  const open = () => readdirSync(`/proc/${server.pid}/fd`).length;
  const before = open();
  await Promise.all(
    Array.from({ length: 40 }, () => server.send({ action: "plain", headers: { "x-open-runtimes-timeout": "no" } })),
  );
  await expect.poll(open).toBeLessThanOrEqual(before);
});

test("what does not load answers 503, and says why in the error log", async () => {
  for (const files of [
    {},
    { "index.js": "let x = ;" },
    { "index.js": "exports.none = 1;" },
    { "index.js": "throw new Error('top');" },
  ]) {
    await using server = await serve(files as Record<string, string>);
    const reply = await server.send({});
    expect([reply.status, reply.text]).toEqual([503, ""]);
    expect(server.log(reply, "errors").length).toBeGreaterThan(10);
    expect((await server.send({ path: "/__opr/health" })).text).toBe("OK");
  }
});

test("over HTTP there are no files, and that is said", async () => {
  const code =
    "module.exports = async ({ saveFile, openFile, res }) => { const told = []; for (const attempt of [() => saveFile({ name: 'n', content: 'x' }), () => openFile('id')]) await attempt().catch((error) => told.push(error.message)); return res.json(told); };";
  await using server = await serve({ "index.js": code });
  const said = "is not available over HTTP: this server has no files.";
  expect(JSON.parse((await server.send()).text)).toEqual([`saveFile ${said}`, `openFile ${said}`]);
});
