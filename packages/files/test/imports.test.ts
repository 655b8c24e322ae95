import { randomBytes } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { Files } from "../src/index.ts";
import { ended, openFilesOn, place, staged } from "./imports.files.ts";
import { md5, serve, serveBytes, sha256 } from "./imports.servers.ts";

vi.setConfig({ hookTimeout: 120_000 });

const code = (expected: string, text = "") => expect.objectContaining({ code: expected, message: expect.stringContaining(text) });

let here: Awaited<ReturnType<typeof place>>;
beforeAll(async () => {
  here = await place();
});
afterAll(async () => {
  await here?.[Symbol.asyncDispose]();
});

const open = (settings: Parameters<typeof openFilesOn>[2] = {}): Promise<Files> =>
  openFilesOn(here.store, here.directory, settings);

test("a file is brought, with progress, name and type, and its id is known beforehand", async () => {
  const bytes = randomBytes(400_000);
  const go = Promise.withResolvers<void>();
  await using server = await serve((_request, response) => {
    response.writeHead(200, { "content-length": bytes.length, "content-type": "text/csv" });
    response.write(bytes.subarray(0, 200_000));
    void go.promise.then(() => response.end(bytes.subarray(200_000)));
  });
  await using files = await open({ trusted: [server.authority] });
  const started = await files.imports.start("bring", { url: server.url("/data/a%20b.csv#part"), sha256: sha256(bytes) });
  expect(started).toMatchObject({
    workspace: "bring",
    url: server.url("/data/a%20b.csv"),
    state: "queued",
    received: 0,
    error: null,
  });
  await expect.poll(async () => (await files.imports.get("bring", started.id)).received, { timeout: 5_000 }).toBeGreaterThan(0);
  expect(await files.imports.pending(started.fileId)).toMatchObject({ id: started.id, state: "running", size: bytes.length });
  await expect(files.get("bring", started.fileId)).rejects.toEqual(code("UNKNOWN_FILE"));
  go.resolve();
  const done = await ended(files, started);
  expect(done).toMatchObject({
    state: "succeeded",
    received: bytes.length,
    size: bytes.length,
    fileId: started.fileId,
    error: null,
  });
  expect(done.endedAt).toBeGreaterThanOrEqual(done.createdAt);
  const file = await files.get("bring", started.fileId);
  expect(file).toMatchObject({ name: "a b.csv", mimeType: "text/csv", sha256: sha256(bytes), size: bytes.length, origin: null });
  expect(await buffer(await files.read(file))).toEqual(bytes);
  expect(await files.imports.pending(started.fileId)).toBeNull();
  expect(await files.imports.list("bring")).toEqual([done]);
  expect(await staged(here.directory)).toEqual([]);
});

test("what fails says why, and leaves nothing", async () => {
  const bytes = randomBytes(10_000);
  await using server = await serve((request, response) => {
    if (request.url === "/none") response.writeHead(404).end();
    else if (request.url === "/endless") {
      const timer = setInterval(() => response.write(Buffer.alloc(100_000)), 2);
      response.once("close", () => clearInterval(timer));
    } else if (request.url === "/away") response.writeHead(302, { location: "http://169.254.169.254/" }).end();
    else serveBytes(bytes)(request, response);
  });
  await using files = await open({ trusted: [server.authority], fileMaxBytes: 1_000_000 });
  await files.put("full", { name: "x" }, [Buffer.alloc(0)] as never);
  await files.setQuota("full", 300_000);
  const failure = async (workspace: string, url: string, more: object = {}) => {
    const done = await ended(files, await files.imports.start(workspace, { url, ...more }));
    expect([done.state, done.endedAt]).toEqual(["failed", expect.any(Number)]);
    return done.error;
  };
  expect(await failure("fail", server.url("/none"))).toEqual(code("IMPORT_FAILED", "404"));
  expect(await failure("fail", server.url("/away"))).toEqual(code("IMPORT_FAILED", "may not be reached"));
  expect(await failure("fail", "http://169.254.169.254/latest/meta-data/")).toEqual(code("IMPORT_FAILED", "may not be reached"));
  expect(await failure("fail", "http://[::ffff:127.0.0.1]:80/")).toEqual(code("IMPORT_FAILED", "may not be reached"));
  expect(await failure("fail", server.url("/"), { sha256: sha256("other") })).toEqual(code("CHECKSUM_MISMATCH"));
  expect(await failure("fail", server.url("/"), { size: 9_999 })).toEqual(code("CHECKSUM_MISMATCH"));
  expect(await failure("fail", server.url("/endless"))).toEqual(code("FILE_TOO_LARGE"));
  expect(await failure("full", server.url("/endless"))).toEqual(code("QUOTA_EXCEEDED"));
  expect((await files.list("fail")).files).toEqual([]);
  expect(await files.usage("fail")).toMatchObject({ files: 0, bytes: 0 });
  expect(await staged(here.directory)).toEqual([]);
});

test("what cannot be is refused at once", async () => {
  await using files = await open({ fileMaxBytes: 1_000 });
  for (const url of [
    "",
    "x",
    "file:///etc/passwd",
    "ftp://h/x",
    "http://",
    "https://user:pass@h/x",
    "drs://h",
    "drs://a:b-c",
    "\0",
    `http://h/${"a".repeat(9000)}`,
  ])
    await expect(files.imports.start("refused", { url })).rejects.toEqual(code("BAD_REQUEST"));
  for (const more of [{ name: "a/b" }, { name: "" }, { mimeType: "x" }, { sha256: "x" }, { size: -1 }])
    await expect(files.imports.start("refused", { url: "https://example.org/x", ...more })).rejects.toEqual(code("BAD_REQUEST"));
  await expect(files.imports.start("refused", { url: "https://example.org/x", size: 1_001 })).rejects.toEqual(
    code("FILE_TOO_LARGE"),
  );
  for (const id of ["x", "\0", "../..", "00000000-0000-0000-0000-000000000000"]) {
    await expect(files.imports.get("refused", id)).rejects.toEqual(code("UNKNOWN_IMPORT"));
    await expect(files.imports.cancel("refused", id)).rejects.toEqual(code("UNKNOWN_IMPORT"));
    expect(await files.imports.pending(id)).toBeNull();
  }
  expect(await files.imports.list("refused")).toEqual([]);
});

test("an import is cancelled in each of its states, and nobody else's can be", async () => {
  const closed: string[] = [];
  await using server = await serve((request, response) => {
    response.once("close", () => closed.push(request.url ?? ""));
    if (request.url === "/fast") return void response.end("done");
    response.writeHead(200, { "content-length": 1_000 }).write("begun");
  });
  await using files = await open({ trusted: [server.authority] });
  const start = (name: string) => files.imports.start("cancel", { url: server.url(`/${name}`) });
  const running = await Promise.all(["a", "b", "c", "d"].map(start));
  const state = async (id: string) => (await files.imports.get("cancel", id)).state;
  for (const { id } of running) await expect.poll(() => state(id)).toBe("running");
  await expect.poll(() => server.requests.length).toBe(4);
  const queued = await start("e");
  await expect(files.imports.cancel("other", queued.id)).rejects.toEqual(code("UNKNOWN_IMPORT"));
  await delay(200);
  expect(await state(queued.id)).toBe("queued");

  expect(await files.imports.cancel("cancel", queued.id)).toMatchObject({ state: "cancelled", endedAt: expect.any(Number) });
  for (const { id } of running) expect((await files.imports.cancel("cancel", id)).state).toBe("cancelled");
  await expect.poll(() => closed.length).toBe(4);

  const fast = await start("fast");
  const done = await ended(files, fast);
  expect(done.state).toBe("succeeded");
  expect(await files.imports.cancel("cancel", fast.id)).toEqual(done);
  expect(await files.imports.cancel("cancel", queued.id)).toMatchObject({ state: "cancelled" });
  expect((await files.list("cancel")).files.map(({ id }) => id)).toEqual([fast.fileId]);
  expect(server.requests.map(({ url }) => url)).not.toContain("/e");
  await expect.poll(() => staged(here.directory)).toEqual([]);
});

test("a cancellation and the last byte meet: cancelled without a file, or succeeded with one", async () => {
  await using server = await serve((request, response) => response.end(request.url));
  await using files = await open({ trusted: [server.authority] });
  const states = { cancelled: 0, succeeded: 0 };
  for (let round = 0; round < 40; round++) {
    const started = await files.imports.start("race", { url: server.url(`/${round}`) });
    await delay((round % 20) * 2);
    const { state } = await files.imports.cancel("race", started.id);
    await delay(5);
    expect(["cancelled", "succeeded"]).toContain(state);
    states[state as keyof typeof states]++;
    expect((await files.imports.get("race", started.id)).state).toBe(state);
  }
  await delay(200);
  const { files: kept } = await files.list("race");
  const succeeded = (await files.imports.list("race")).filter(({ state }) => state === "succeeded");
  expect(kept.map(({ id }) => id).toSorted()).toEqual(succeeded.map(({ fileId }) => fileId).toSorted());
  expect(kept).toHaveLength(states.succeeded);
});

test("a close gives imports back, and the next opening begins them anew", async () => {
  const bytes = randomBytes(100_000);
  let held = true;
  await using server = await serve((request, response) => {
    if (!held) return serveBytes(bytes)(request, response);
    response.writeHead(200, { "content-length": bytes.length }).write(bytes.subarray(0, 50_000));
  });
  const first = await open({ trusted: [server.authority] });
  const started = await first.imports.start("again", { url: server.url("/x") });
  await expect.poll(() => server.requests.length).toBe(1);
  await first[Symbol.asyncDispose]();
  expect(await here.store.imports.find("again", started.id)).toMatchObject({ state: "queued", attempts: 0, received: 0 });
  held = false;
  await using files = await open({ trusted: [server.authority] });
  expect((await ended(files, started)).state).toBe("succeeded");
  expect((await files.get("again", started.fileId)).sha256).toBe(sha256(bytes));
});

test("a failure that passes is tried again from the beginning", async () => {
  const bytes = randomBytes(10_000);
  let asked = 0;
  await using server = await serve((request, response) => {
    asked++;
    if (asked === 1) response.writeHead(503).end();
    else if (asked === 2)
      response.writeHead(200, { "content-length": bytes.length }).write(bytes.subarray(0, 100), () => response.destroy());
    else serveBytes(bytes)(request, response);
  });
  await using files = await open({ trusted: [server.authority] });
  const done = await ended(files, await files.imports.start("passing", { url: server.url("/x") }));
  expect(done).toMatchObject({ state: "succeeded", received: bytes.length });
  expect(asked).toBe(3);
});

test("drs addresses are brought and held to what their server says", async () => {
  const bytes = randomBytes(30_000);
  const warnings: string[] = [];
  const objects: Record<string, object> = {
    good: { name: "reads.bam", mime_type: "application/x-bam", checksums: [{ type: "sha-256", checksum: sha256(bytes) }] },
    md5: { checksums: [{ type: "md5", checksum: md5(bytes) }] },
    liar: { checksums: [{ type: "md5", checksum: md5("other") }] },
    size: { size: 5, checksums: [{ type: "md5", checksum: md5(bytes) }] },
    etag: { checksums: [{ type: "etag", checksum: "x" }] },
    nothing: { size: "many", checksums: [] },
    bundle: { contents: [] },
  };
  await using server = await serve((request, response) => {
    const id = (request.url ?? "").replace("/ga4gh/drs/v1/objects/", "");
    const known = objects[id];
    if (known === undefined) return serveBytes(bytes)(request, response);
    const method = (path: string) => ({ type: "https", access_url: { url: `http://${request.headers.host}${path}` } });
    response.end(JSON.stringify({ id, size: bytes.length, access_methods: [method("/bytes")], ...known }));
  });
  await using files = await open({ trusted: [server.authority], warn: (message) => warnings.push(message) });
  const bring = async (id: string, more: object = {}) =>
    ended(files, await files.imports.start("drs", { url: `drs://${server.authority}/${id}`, ...more }));
  const good = await bring("good");
  expect(good).toMatchObject({ state: "succeeded", size: bytes.length });
  expect(await files.get("drs", good.fileId)).toMatchObject({
    name: "reads.bam",
    mimeType: "application/x-bam",
    sha256: sha256(bytes),
  });
  expect(await files.get("drs", (await bring("md5")).fileId)).toMatchObject({ name: "md5", sha256: sha256(bytes) });
  expect(warnings).toEqual([]);
  expect((await bring("etag")).state).toBe("succeeded");
  expect(warnings).toEqual([expect.stringContaining("no checksum that can be verified")]);
  expect((await bring("liar")).error).toEqual(code("CHECKSUM_MISMATCH", "md5"));
  expect((await bring("size")).error).toEqual(code("CHECKSUM_MISMATCH"));
  expect((await bring("good", { sha256: sha256("other") })).error).toEqual(code("CHECKSUM_MISMATCH"));
  expect((await bring("nothing")).error).toEqual(code("IMPORT_FAILED", "neither a size nor a checksum"));
  expect((await bring("nothing", { sha256: sha256(bytes) })).state).toBe("succeeded");
  expect((await bring("bundle")).error).toEqual(code("BAD_REQUEST", "bundle"));
});

test("imports that ended long ago are pruned, and what has crashed too often is given up", async () => {
  await using server = await serve(serveBytes(randomBytes(10)));
  await using files = await open({ trusted: [server.authority] });
  const done = await ended(files, await files.imports.start("old", { url: server.url("/") }));
  expect(await here.store.imports.prune(60_000)).toBe(0);
  await delay(20);
  expect(await here.store.imports.prune(1)).toBeGreaterThan(0);
  await expect(files.imports.get("old", done.id)).rejects.toEqual(code("UNKNOWN_IMPORT"));
  expect((await files.get("old", done.fileId)).size).toBe(10);
});
