import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { sendBytes } from "../harness/http.ts";
import { Place } from "../harness/place.ts";
import { StartFailure } from "../harness/server.ts";
import { sharedServer } from "../harness/shared-server.ts";

const server = sharedServer({
  flags: { prewarmed: "1" },
  prepare: () => server.save("there", { f: { code: "cache.calls = (cache.calls ?? 0) + 1; return cache.calls" } }),
});

const ROUTES: readonly [method: string, path: string, body?: object][] = [
  ["POST", "/v2/functions/there/run/f", {}],
  ["POST", "/v2/functions/there/run/f?long=way", {}],
  ["POST", "/v2/functions/there", { functions: {} }],
  ["GET", "/v2/functions/there"],
  ["DELETE", "/v2/functions/there"],
  ["GET", "/api/v1/workspaces"],
  ["PUT", "/api/v1/workspaces/there", { functions: {} }],
  ["PATCH", "/api/v1/workspaces/there", {}],
  ["DELETE", "/api/v1/workspaces/there"],
  ["PUT", "/api/v1/workspaces/there/functions/f", { code: "return 1" }],
  ["POST", "/api/v1/workspaces/there/functions/f/executions", {}],
  ["GET", "/api/v1/executions"],
  ["GET", "/api/v1/instances"],
  ["GET", "/api/v1/workspaces/there/files"],
  ["POST", "/api/v1/workspaces/there/files?name=x", {}],
  ["POST", "/api/v1/workspaces/there/uploads"],
  ["POST", "/api/v1/workspaces/there/imports", { url: "http://x/" }],
  ["POST", "/api/v1/storage/collect"],
  ["GET", "/metrics"],
  ["GET", "/openapi.json"],
  ["GET", "/docs/"],
  ["GET", "/nowhere"],
];

describe("without a key", () => {
  test.each(ROUTES)("%s %s is for this machine's programs only", async (method, path, body) => {
    for (const host of [
      "evil.example",
      "evil.example:4000",
      "127.0.0.1.evil.example",
      "localhost.evil.example",
      "169.254.169.254",
      "0.0.0.0",
      "[::ffff:127.0.0.1]",
      "localhost@evil.example",
      "127.1",
      "localhost:x",
    ]) {
      const answer = await server.send(method, path, body, { headers: { host } });
      expect([answer.status, answer.code], host).toEqual([403, "FOREIGN_HOST"]);
    }
    for (const headers of [
      { origin: "http://evil.example" },
      { origin: "null" },
      { origin: `https://127.0.0.1:${server.port}.evil.example` },
      { origin: "http://127.0.0.1:1" },
      { "sec-fetch-site": "cross-site" },
      { "sec-fetch-site": "same-site" },
      ...(method === "GET" ? [] : [{ "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" }]),
    ] as Record<string, string>[]) {
      const answer = await server.send(method, path, body, { headers });
      expect([answer.status, answer.code], JSON.stringify(headers)).toEqual([403, "CROSS_ORIGIN"]);
      expect(answer.headers["access-control-allow-origin"]).toBeUndefined();
    }
  });

  test("none of these requests did anything; local names and same-origin pages are served", async () => {
    expect(await server.result("there", "f")).toBe(1);
    for (const host of ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.2:80", "[::1]:4000", "x.localhost"]) {
      const answer = await server.send("GET", "/v2/functions/there", undefined, { headers: { host } });
      expect(answer.status, host).toBe(200);
    }
    const page = { host: `localhost:${server.port}`, origin: `http://localhost:${server.port}`, "sec-fetch-site": "same-origin" };
    expect((await server.send("POST", "/v2/functions/there/run/f", {}, { headers: page })).status).toBe(200);
    const followed = { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" };
    expect((await server.send("GET", "/health", undefined, { headers: followed })).status).toBe(200);
  });

  test("a preflight gets no permission", async () => {
    const answer = await server.send("OPTIONS", "/v2/functions/there/run/f", undefined, {
      headers: { origin: "http://evil.example", "access-control-request-method": "POST" },
    });
    expect(answer.status).toBe(403);
    expect(Object.keys(answer.headers).filter((name) => name.startsWith("access-control"))).toEqual([]);
  });
});

describe("smuggled and crooked requests", () => {
  const call = "POST /v2/functions/there/run/f HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
  test.each([
    [
      "length and chunks",
      `${call}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n`,
    ],
    ["two lengths", `${call}content-length: 2\r\ncontent-length: 30\r\n\r\n{}GET /smuggled HTTP/1.1\r\n\r\n`],
    ["a folded header", `${call}x: a\r\n b\r\ncontent-length: 2\r\n\r\n{}`],
    ["a space before the colon", `${call}content-length : 2\r\n\r\n{}`],
    ["chunked twice", `${call}transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n`],
    ["unknown transfer coding", `${call}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n`],
    ["a NUL in a header", `${call}x: a\u0000b\r\ncontent-length: 2\r\n\r\n{}`],
    ["bare line feeds in a chunk", `${call}transfer-encoding: chunked\r\n\r\n2\n{}\n0\n\n`],
    ["no host", "GET /health HTTP/1.1\r\n\r\n"],
    ["an empty host", "GET /health HTTP/1.1\r\nhost: \r\n\r\n"],
    ["no HTTP at all", "\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\r\n\r\n"],
    ["a huge header", `GET /health HTTP/1.1\r\nhost: localhost\r\nx: ${"x".repeat(100_000)}\r\n\r\n`],
    ["10,000 headers", `GET /health HTTP/1.1\r\nhost: localhost\r\n${"x: y\r\n".repeat(10_000)}\r\n`],
  ])("are refused: %s", async (_what, bytes) => {
    const answer = await sendBytes(server.port, bytes, 1_500);
    expect(answer).toMatch(/^HTTP\/1\.1 (400|403|413|431) /);
    expect(answer.match(/^HTTP\/1\.1 /gm)).toHaveLength(1);
    expect(answer).not.toContain("smuggled");
  });

  test("two hosts: the foreign one does not pass", async () => {
    const answer = await sendBytes(server.port, "GET /health HTTP/1.1\r\nhost: evil.example\r\nhost: localhost\r\n\r\n", 500);
    expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /);
    const absolute = await sendBytes(server.port, "GET http://evil.example/health HTTP/1.1\r\nhost: evil.example\r\n\r\n", 500);
    expect(absolute).toMatch(/^HTTP\/1\.1 4\d\d /);
  });
});

describe("connections that do nothing", () => {
  async function open(count: number, bytes: string): Promise<Socket[]> {
    const sockets: Socket[] = [];
    for (let i = 0; i < count; i += 100) {
      const some = await Promise.all(
        Array.from({ length: Math.min(100, count - i) }, () => {
          const socket = connect({ host: "127.0.0.1", port: server.port });
          socket.on("error", () => undefined);
          return new Promise<Socket>((resolve) => socket.once("connect", () => resolve(socket)));
        }),
      );
      for (const socket of some) if (bytes !== "") socket.write(bytes);
      sockets.push(...some);
    }
    return sockets;
  }

  test.each([
    ["nothing sent", ""],
    ["half a header", "POST /v2/functions/there/run/f HTTP/1.1\r\nhost: loc"],
    [
      "half a body",
      "POST /v2/functions/there/run/f HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
    ],
  ])("1,000 of them do not stop service: %s", async (_what, bytes) => {
    const sockets = await open(1_000, bytes);
    try {
      const started = performance.now();
      for (let i = 0; i < 20; i++) expect((await server.run("there", "f")).status).toBe(200);
      expect(performance.now() - started).toBeLessThan(5_000);
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  });

  test("a caller that goes away in the middle of a call harms nobody", async () => {
    await server.save("away", { slow: { code: "await new Promise((done) => setTimeout(done, 500)); return 1" } });
    for (let i = 0; i < 20; i++) {
      const outgoing = request({
        host: "127.0.0.1",
        port: server.port,
        method: "POST",
        path: "/v2/functions/away/run/slow",
        headers: { "content-type": "application/json", "content-length": "2" },
      });
      outgoing.on("error", () => undefined);
      outgoing.end("{}");
      setTimeout(() => outgoing.destroy(), 100);
    }
    await new Promise((done) => setTimeout(done, 300));
    expect(await server.result("away", "slow")).toBe(1);
  });
});

describe("with a key", () => {
  const key = "k".repeat(40);
  const folder = mkdtempSync(join(tmpdir(), "treadle-key-"));
  writeFileSync(join(folder, "key"), `${key}\n`, { mode: 0o600 });
  const guarded = sharedServer({ flags: { host: "0.0.0.0", "admin-key-file": join(folder, "key"), prewarmed: "0" } });
  afterAll(() => rmSync(folder, { recursive: true }));
  const authorization = `Bearer ${key}`;

  test.each(ROUTES)("%s %s asks for it", async (method, path, body) => {
    for (const sent of [
      undefined,
      "",
      "Bearer",
      "Bearer ",
      `Bearer ${key}x`,
      `Bearer ${key.slice(1)}`,
      `Basic ${key}`,
      key,
      `Bearer ${key} ${key}`,
      "Bearer \u00e9".repeat(20),
    ]) {
      const headers: Record<string, string> = sent === undefined ? {} : { authorization: sent };
      const answer = await guarded.send(method, path, body, { headers });
      expect([answer.status, answer.code], sent).toEqual([401, "UNAUTHORIZED"]);
    }
  });

  test("its holder is served, from any address; health and readiness are open", async () => {
    const save = await guarded.send(
      "POST",
      "/v2/functions/w",
      { functions: { f: { code: "return 7" } } },
      { headers: { authorization } },
    );
    expect(save.status).toBe(200);
    const hosts = Object.values(networkInterfaces())
      .flatMap((list) => list ?? [])
      .filter(({ family }) => family === "IPv4");
    for (const host of ["treadle.example", ...hosts.map(({ address }) => address)]) {
      const answer = await guarded.send("POST", "/v2/functions/w/run/f", {}, { headers: { authorization, host } });
      expect(answer.json.result, host).toBe(7);
    }
    for (const path of ["/health", "/ready"]) expect((await guarded.send("GET", path)).status).toBe(200);
    for (const path of ["/health/", "//health", "/health/../metrics", "/ready?x=/metrics", "/metrics?/health", "/%68ealth"]) {
      const answer = await guarded.send("GET", path);
      expect([200, 401, 404], path).toContain(answer.status);
      expect(answer.text, path).not.toMatch(/treadle_|process_cpu/);
    }
  });

  test("another origin is refused even with it", async () => {
    const answer = await guarded.send(
      "POST",
      "/v2/functions/w/run/f",
      {},
      { headers: { authorization, origin: "http://evil.example" } },
    );
    expect([answer.status, answer.code]).toEqual([403, "CROSS_ORIGIN"]);
  });

  test("neither its log nor its arguments show the key", () => {
    expect(guarded.log).not.toContain(key);
  });
});

describe("a start that would be unsafe or cannot work is refused", () => {
  test.each([
    [{ host: "0.0.0.0" }, /TREADLE_ADMIN_KEY/],
    [{ host: "::" }, /TREADLE_ADMIN_KEY/],
    [{ host: "0.0.0.0", "admin-key": "short" }, /at least 32/],
    [{ "admin-key-file": "/nonexistent/key" }, /cannot be read/],
    [{ port: "70000" }, /--port/],
    [{ "run-timeout": "soon" }, /--run-timeout/],
    [{ sandbox: "chroot" }, /--sandbox/],
  ])("%j", async (flags, message) => {
    await using place = new Place();
    const failure = await place.start(flags as unknown as Record<string, string>).then(
      () => null,
      (error: unknown) => error,
    );
    expect(failure).toBeInstanceOf(StartFailure);
    const { exit, log } = failure as StartFailure;
    expect(exit).toEqual({ code: 1, signal: null });
    expect(log).toMatch(/^treadle: INVALID_SETTING: /);
    expect(log).toMatch(message);
    expect(log).not.toMatch(/\n +at /);
    expect(await place.leftovers()).toEqual([]);
  });

  test("a data directory and a port that are taken are named, and their holder goes on", async () => {
    await using place = new Place();
    const holder = await place.start({ prewarmed: "0" });
    const second = (flags: Record<string, string>) =>
      new Promise<{ code: number | null; text: string }>((resolve) => {
        const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]);
        const child = spawn(holder.child.spawnfile, ["serve", ...args], { stdio: ["ignore", "pipe", "pipe"] });
        let text = "";
        for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")));
        child.on("close", (code) => resolve({ code, text }));
      });
    const sameFolder = await second({ port: "0", "data-dir": place.dataDirectory });
    expect(sameFolder.code).toBe(1);
    expect(sameFolder.text).toMatch(/^treadle: DATA_DIRECTORY_LOCKED: /m);
    const samePort = await second({ port: String(holder.port), "data-dir": join(place.directory, "other") });
    expect(samePort.code).toBe(1);
    expect(samePort.text).toMatch(new RegExp(`${holder.port}`));
    expect(samePort.text).not.toMatch(/\n +at /);
    await holder.save("w", { f: { code: "return 1" } });
    expect(await holder.result("w", "f")).toBe(1);
    place.observe();
    await holder.stop();
    expect(await place.leftovers()).toEqual([]);
  });
});
