import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { SendOptions } from "../harness/http.ts";
import { sharedServer } from "../harness/shared-server.ts";

// What the executor's own end-to-end tests ask of it (open-runtimes/executor, tests/e2e), as far as it is not about Docker.

const SECRET = "executor-secret-key";
const server = sharedServer({ environment: { TREADLE_EXECUTOR_SECRET: SECRET } });

interface Reply {
  readonly status: number;
  readonly type: string;
  readonly body: Record<string, unknown> & {
    output?: { timestamp: string; content: string }[];
    headers?: Record<string, unknown>;
  };
}

async function call(method: string, path: string, body?: unknown, options: SendOptions = {}): Promise<Reply> {
  const headers = { authorization: `Bearer ${SECRET}`, accept: "application/json", "x-executor-response-format": "0.11.0" };
  const answer = await server.send(method, `/v1${path}`, body, {
    timeoutMs: 60_000,
    ...options,
    headers: { ...headers, ...options.headers },
  });
  return {
    status: answer.status,
    type: String(answer.headers["content-type"] ?? ""),
    body: answer.text === "" ? {} : (answer.json as Reply["body"]),
  };
}

async function source(path: string, files: Readonly<Record<string, string>>): Promise<void> {
  const archive = pack();
  for (const [name, content] of Object.entries(files)) archive.entry({ name }, content);
  archive.finalize();
  const file = join(server.dataDirectory, "executor", path);
  mkdirSync(dirname(file), { recursive: true });
  const chunks: Buffer[] = [];
  for await (const chunk of archive) chunks.push(chunk as Buffer);
  writeFileSync(file, gzipSync(Buffer.concat(chunks)));
}

const NODE_IMAGE = "openruntimes/node:v5-22";
const BUILD = 'tar -zxf /tmp/code.tar.gz -C /mnt/code && bash helpers/build.sh "npm install && node build.js"';

beforeAll(() =>
  source("functions/node/code.tar.gz", {
    "package.json": '{"name": "f", "version": "1.0.0"}',
    "build.js": 'console.log("Step: 1"); require("node:fs").writeFileSync("built.json", \'{"built": true}\');',
    "index.js": `module.exports = async ({ req, res, log, error }) => {
      if (req.path === "/throw") throw new Error("on purpose");
      if (req.path === "/sleep") await new Promise((done) => setTimeout(done, 5000));
      if (req.path === "/binary") return res.binary(Buffer.from([0, 255, 254]));
      log("body " + req.bodyText); error("to the errors");
      return res.json({ path: req.path, method: req.method, variable: process.env.customVariable ?? null, built: require("./built.json").built },
        200, { "x-key": "aValue", "set-cookie": ["a=1", "b=2"] });
    };`,
  }),
);

test("without its secret nothing is answered but health", async () => {
  expect((await server.send("GET", "/v1/health")).text).toBe("OK");
  for (const authorization of ["", "Bearer wrong", `Basic ${SECRET}x`]) {
    const refused = await call("GET", "/runtimes", undefined, { headers: { authorization } });
    expect([refused.status, refused.body.type, refused.body.message]).toEqual([
      401,
      "general_unauthorized",
      "Missing executor key",
    ]);
  }
});

test("runtimes that there are not", async () => {
  expect((await call("GET", "/runtimes")).body).toEqual([]);
  for (const [method, path] of [
    ["GET", "/runtimes/none"],
    ["DELETE", "/runtimes/none"],
    ["POST", "/runtimes/none/executions"],
  ] as const) {
    const missing = await call(method, path, method === "POST" ? {} : undefined);
    expect([missing.status, missing.body.type]).toEqual([404, "runtime_not_found"]);
  }
});

describe("a build and what it made", () => {
  let artifact = "";

  test("a build answers with its output and the artifact's path, and is gone afterwards", async () => {
    const built = await call("POST", "/runtimes", {
      ...{ runtimeId: "0-build", image: NODE_IMAGE, entrypoint: "index.js", command: BUILD, remove: true },
      ...{ source: "/functions/node/code.tar.gz", destination: "/builds/test" },
    });
    expect([built.status, built.body.message]).toEqual([201, undefined]);
    artifact = String(built.body.path);
    expect(artifact).toMatch(/^\/builds\/test\/[0-9a-f]+\.tar\.gz$/);
    expect(built.body.size).toBeGreaterThan(100);
    expect(built.body.output?.map(({ content }) => content).join("")).toContain("Step: 1");
    expect((await call("GET", "/runtimes/0-build")).status).toBe(404);
    expect(readdirSync(join(server.dataDirectory, "executor", "builds/test")).filter((name) => name.endsWith(".part"))).toEqual(
      [],
    );
  });

  test("a runtime of the artifact is started, listed, called and deleted; its id is taken meanwhile", async () => {
    const runtime = {
      runtimeId: "exec",
      image: NODE_IMAGE,
      entrypoint: "index.js",
      source: artifact,
      variables: { customVariable: "mySecret" },
    };
    expect((await call("POST", "/runtimes", runtime)).status).toBe(201);
    const again = await call("POST", "/runtimes", runtime);
    expect([again.status, again.body.type]).toEqual([409, "runtime_conflict"]);
    const view = await call("GET", "/runtimes/exec");
    expect(view.body).toMatchObject({ version: "v5", image: NODE_IMAGE, initialised: 1 });
    expect(String(view.body.name)).toMatch(/-exec$/);
    const answer = await call("POST", "/runtimes/exec/executions", { body: "test payload", path: "v1/users", method: "POST" });
    expect(answer.status).toBe(200);
    expect(answer.body).toMatchObject({ statusCode: 200, logs: "body test payload", errors: "to the errors" });
    expect(JSON.parse(String(answer.body.body))).toEqual({
      path: "/v1/users",
      method: "POST",
      variable: "mySecret",
      built: true,
    });
    expect(answer.body.headers).toMatchObject({ "x-key": "aValue", "set-cookie": ["a=1", "b=2"] });
    expect(answer.body.duration).toBeGreaterThan(0);
    expect((await call("DELETE", "/runtimes/exec")).status).toBe(200);
    expect((await call("GET", "/runtimes/exec")).status).toBe(404);
  });

  test("an execution that brings what its runtime is made of starts it", async () => {
    const cold = { source: artifact, entrypoint: "index.js", image: NODE_IMAGE };
    const first = await call("POST", "/runtimes/cold/executions", cold);
    expect([first.status, first.body.statusCode]).toEqual([200, 200]);
    const head = await call("POST", "/runtimes/cold/executions", { ...cold, method: "HEAD" });
    expect([head.status, head.body.body]).toEqual([200, ""]);
    const thrown = await call("POST", "/runtimes/cold/executions", { path: "/throw" });
    expect([thrown.status, thrown.body.statusCode, thrown.body.body]).toEqual([200, 500, ""]);
    expect(thrown.body.errors).toContain("on purpose");
    const late = await call("POST", "/runtimes/cold/executions", { path: "/sleep", timeout: 1 });
    expect([late.status, late.body.statusCode]).toEqual([200, 500]);
    expect(late.body.errors).toContain("Execution timed out.");
    const silent = await call("POST", "/runtimes/cold/executions", { logging: false });
    expect([silent.body.logs, silent.body.errors]).toEqual(["", ""]);
  });

  test("an answer is multipart unless JSON is asked for, and the last header of a name for older callers", async () => {
    for (const accept of ["*/*", "text/plain", "application/xml"]) {
      const answer = await server.send(
        "POST",
        "/v1/runtimes/cold/executions",
        {},
        { headers: { authorization: `Bearer ${SECRET}`, accept } },
      );
      expect(answer.headers["content-type"]).toMatch(/^multipart\/form-data; boundary=/);
      expect(answer.text).toMatch(/name="statusCode"\r\n\r\n200\r\n/);
    }
    for (const accept of ["application/json", "application/*", "text/plain, application/json"])
      expect((await call("POST", "/runtimes/cold/executions", {}, { headers: { accept } })).type).toBe("application/json");
    const old = await call("POST", "/runtimes/cold/executions", {}, { headers: { "x-executor-response-format": "0.10.0" } });
    expect(old.body.headers).toMatchObject({ "set-cookie": "b=2" });
    const binary = await call("POST", "/runtimes/cold/executions", { path: "/binary" });
    expect([binary.status, binary.body.type]).toEqual([400, "execution_bad_json"]);
  });

  test("requests may be multipart, with bytes as body", async () => {
    const form = new FormData();
    form.set("path", "/form");
    form.set("method", "POST");
    form.set("headers", JSON.stringify({ "x-a": "b" }));
    form.set("body", "from a form");
    const request = new Request("http://localhost/", { method: "POST", body: form });
    const answer = await call("POST", "/runtimes/cold/executions", Buffer.from(await request.arrayBuffer()), {
      headers: { "content-type": request.headers.get("content-type") ?? "" },
    });
    expect(answer.body.logs).toBe("body from a form");
  });

  afterAll(() => call("DELETE", "/runtimes/cold"));
});

test("a command that fails is the user's: build_failed, with what it printed", async () => {
  const failed = await call("POST", "/runtimes", {
    ...{
      runtimeId: "fails",
      image: NODE_IMAGE,
      source: "/functions/node/code.tar.gz",
      command: "echo before-failure && exit 3",
      remove: true,
    },
  });
  expect([failed.status, failed.body.type]).toEqual([400, "build_failed"]);
  expect(failed.body.message).toContain("before-failure");
  expect((await call("GET", "/runtimes")).body).toEqual([]);
});

test("the log of a build can be followed while it is made", async () => {
  const followed = server.send("GET", "/v1/runtimes/followed/logs", undefined, {
    headers: { authorization: `Bearer ${SECRET}` },
    timeoutMs: 60_000,
  });
  await call("POST", "/runtimes", {
    ...{ runtimeId: "followed", image: NODE_IMAGE, entrypoint: "index.js", source: "/functions/node/code.tar.gz" },
    command: 'bash helpers/build.sh "echo one && sleep 1 && echo two && node build.js"',
  });
  expect((await followed).text).toMatch(/^\d{4}-\S+ one\\n$/m);
  expect((await followed).text).toMatch(/^\d{4}-\S+ two\\n$/m);
  await call("DELETE", "/runtimes/followed");
});

test("paths do not lead out of the storage, nor do links in it", async () => {
  const base = { runtimeId: "out", image: NODE_IMAGE, remove: true };
  for (const path of ["/../admin.key", "../../etc/passwd"]) {
    const out = await call("POST", "/runtimes", { ...base, source: path });
    expect([out.status, out.body.type]).toEqual([400, "execution_bad_request"]);
  }
  symlinkSync("/etc/passwd", join(server.dataDirectory, "executor", "passwd"));
  for (const path of ["/passwd", "/nowhere/code.tar.gz"]) {
    const missing = await call("POST", "/runtimes", { ...base, source: path });
    expect([missing.status, missing.body.type]).toEqual([400, "execution_bad_request"]);
  }
});

test("what is malformed is refused as the caller's mistake", async () => {
  for (const body of [
    {},
    { runtimeId: "../x", image: NODE_IMAGE },
    { runtimeId: "x", image: "busybox", source: "/functions/node/code.tar.gz" },
    { runtimeId: "x", image: NODE_IMAGE, memory: -1 },
    "not JSON",
  ]) {
    const refused = await call(
      "POST",
      "/runtimes",
      body,
      typeof body === "string" ? { headers: { "content-type": "application/json" } } : {},
    );
    expect(refused.status).toBe(400);
  }
});
