import { randomBytes } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import path from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { sql } from "kysely";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { Files, NewFile } from "../src/index.ts";
import { bytesOf, openPlace, type Place, put, sha256Of } from "./place.ts";

vi.setConfig({ hookTimeout: 120_000 });

const MAX_BYTES = 8 * 1024 * 1024;
let place: Place;
let files: Files;
let count = 0;
const fresh = (): string => `workspace-${++count}`;
const staged = async (): Promise<string[]> => (await readdir(path.join(place.directory, "staging"))).toSorted();
const code = (expected: string) => expect.objectContaining({ code: expected });

beforeAll(async () => {
  place = await openPlace({}, { fileMaxBytes: MAX_BYTES });
  files = place.files;
});
afterAll(() => place?.[Symbol.asyncDispose]());

test("a file is what was put: bytes, digest, size, name, type; found by its id, its workspace and its digest", async () => {
  const workspace = fresh();
  const content = randomBytes(300_001);
  const file = await files.put(
    workspace,
    { name: "größe 1.csv", description: "a table", public: true, size: content.length, sha256: sha256Of(content) },
    Readable.from([content.subarray(0, 1), content.subarray(1, 70_000), Buffer.alloc(0), content.subarray(70_000)]),
  );
  expect(file).toMatchObject({
    workspace,
    name: "größe 1.csv",
    mimeType: "text/csv",
    description: "a table",
    sha256: sha256Of(content),
    size: 300_001,
    public: true,
    origin: null,
    damaged: false,
  });
  expect(Math.abs(file.createdAt - Date.now())).toBeLessThan(60_000);
  expect(await files.get(workspace, file.id)).toEqual(file);
  expect(await files.find(file.id)).toEqual(file);
  expect(await files.findByChecksum(file.sha256)).toEqual([file]);
  expect((await bytesOf(files, file)).equals(content)).toBe(true);
  expect(await staged()).toEqual(["holder"]);
});

test.each([0, 1, 262_143, 262_144, 262_145, 5_000_000])(
  "%i bytes come back as they were put, in chunks of any size",
  async (size) => {
    const content = randomBytes(size);
    async function* pieces(): AsyncGenerator<Buffer> {
      for (let at = 0; at < size; ) {
        const length = 1 + Math.floor(Math.random() ** 3 * 1_000_000);
        yield content.subarray(at, at + length);
        at += length;
      }
    }
    const file = await files.put("sizes", { name: "f" }, pieces());
    expect(file.sha256).toBe(sha256Of(content));
    expect((await bytesOf(files, file)).equals(content)).toBe(true);
  },
);

test("a request's body becomes a file", async () => {
  const content = randomBytes(3_000_000);
  const server = createServer(async (incoming, response) => {
    const file = await files.put("http", { name: "body" }, incoming);
    response.end(file.sha256);
  });
  const socket = path.join(place.directory, "http.sock");
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  try {
    for (const headers of [{ "content-length": content.length }, { "transfer-encoding": "chunked" }]) {
      const answer = await new Promise<Readable>((resolve, reject) => {
        const outgoing = request({ socketPath: socket, method: "PUT", headers }, resolve).on("error", reject);
        Readable.from(Array.from({ length: 100 }, (_, at) => content.subarray(at * 30_000, (at + 1) * 30_000))).pipe(outgoing);
      });
      expect((await buffer(answer)).toString()).toBe(sha256Of(content));
    }
  } finally {
    server.close();
  }
});

test("what is too large, too long, too short or something else is refused, and nothing of it stays", async () => {
  const workspace = fresh();
  const put = (file: Partial<NewFile>, chunks: Iterable<Buffer>) =>
    files.put(workspace, { name: "f", ...file }, Readable.from(chunks));
  let sent = 0;
  function* endless(): Generator<Buffer> {
    for (; ; sent += 65_536) yield Buffer.alloc(65_536);
  }
  await expect(put({}, endless())).rejects.toThrow(code("FILE_TOO_LARGE"));
  expect(sent).toBeLessThan(MAX_BYTES + 4_000_000);
  await expect(put({ size: MAX_BYTES + 1 }, [])).rejects.toThrow(code("FILE_TOO_LARGE"));
  await expect(put({ size: 3 }, [Buffer.from("four")])).rejects.toThrow(code("CHECKSUM_MISMATCH"));
  await expect(put({ size: 5 }, [Buffer.from("four")])).rejects.toThrow(code("CHECKSUM_MISMATCH"));
  await expect(put({ sha256: sha256Of("five") }, [Buffer.from("four")])).rejects.toThrow(code("CHECKSUM_MISMATCH"));
  expect((await files.list(workspace)).files).toEqual([]);
  expect(await staged()).toEqual(["holder"]);
});

test("an error of the source and an abort end a put with their own reason and leave nothing", async () => {
  const workspace = fresh();
  async function* broken(): AsyncGenerator<Buffer> {
    yield Buffer.alloc(500_000);
    throw new Error("the line is cut");
  }
  await expect(files.put(workspace, { name: "f" }, broken())).rejects.toThrow("the line is cut");
  const gone = new Readable({ read() {} });
  gone.push(Buffer.alloc(10));
  setTimeout(() => gone.destroy(), 30);
  await expect(files.put(workspace, { name: "f" }, gone)).rejects.toThrow("Premature close");
  const controller = new AbortController();
  const silent = new Readable({ read() {} });
  setTimeout(() => controller.abort(), 30);
  await expect(files.put(workspace, { name: "f" }, silent, controller.signal)).rejects.toThrow(/abort/i);
  expect(silent.destroyed).toBe(true);
  expect((await files.list(workspace)).files).toEqual([]);
  expect(await staged()).toEqual(["holder"]);
});

test.each(["", ".", "..", "a/b", "/etc/passwd", "nul\0", "line\nbreak", "\u0085", "\ud800", "x".repeat(256), "del\x7f"])(
  "the name %j is refused",
  async (name) => {
    await expect(put(files, "names", name, "x")).rejects.toThrow(code("BAD_REQUEST"));
  },
);

test.each(["...", "größe", "a\\b", "🙂".repeat(255), "con", "%2e%2e%2f", "a b\u00a0c", "'; DROP TABLE files; --", "__proto__"])(
  "the name %j is taken and given back",
  async (name) => {
    const file = await put(files, "names", name, "x");
    expect((await files.get("names", file.id)).name).toBe(name);
  },
);

test.each([
  "text/html\r\nset-cookie: a=b",
  "text",
  "text/",
  "text/html; charset=utf-8; x",
  'text/html; a="b\nc"',
  "tëxt/html",
  `a/${"b".repeat(300)}`,
])("the type %j is refused", async (mimeType) => {
  await expect(files.put("types", { name: "f", mimeType }, Readable.from([]))).rejects.toThrow(code("BAD_REQUEST"));
});

test.each([
  "text/csv; charset=utf-8",
  "application/vnd.apache.arrow.file",
  'multipart/form-data; boundary="a b"',
  "image/svg+xml",
])("the type %j is taken", async (mimeType) => {
  expect((await files.put("types", { name: "f", mimeType }, Readable.from([]))).mimeType).toBe(mimeType);
});

test("a type nobody knows is application/octet-stream", async () => {
  expect((await put(files, "types", "thing.unheard-of", "")).mimeType).toBe("application/octet-stream");
});

test("ids of others, of nobody and of no form are unknown files to every call", async () => {
  const [one, two] = [fresh(), fresh()];
  const file = await put(files, one, "f", "mine");
  for (const id of [file.id, "0".repeat(32), "../../etc/passwd", "", "\0", "\ud800", "' OR 1=1", `${file.id}x`]) {
    await expect(files.get(two, id)).rejects.toThrow(code("UNKNOWN_FILE"));
    await expect(files.change(two, id, { name: "x" })).rejects.toThrow(code("UNKNOWN_FILE"));
    await expect(files.remove(two, id)).rejects.toThrow(code("UNKNOWN_FILE"));
    if (id !== file.id) expect(await files.find(id)).toBeNull();
  }
  for (const workspace of ["", "\0", "\ud800", "nobody"]) {
    await expect(files.get(workspace, file.id)).rejects.toThrow(code("UNKNOWN_FILE"));
    await expect(files.remove(workspace, file.id)).rejects.toThrow(code("UNKNOWN_FILE"));
    expect(await files.list(workspace)).toEqual({ files: [], next: null });
  }
  await expect(put(files, "nul\0", "f", "x")).rejects.toThrow(code("BAD_REQUEST"));
  expect((await files.get(one, file.id)).name).toBe("f");
});

test("lists are pages, oldest first, by prefix and by digest", async () => {
  const workspace = fresh();
  for (const name of ["a%1", "b", "a_2", "ab"]) await put(files, workspace, name, `content of ${name}`);
  const names = async (query: Parameters<Files["list"]>[1]) =>
    (await files.list(workspace, query)).files.map((file) => file.name);
  expect(await names({})).toEqual(["a%1", "b", "a_2", "ab"]);
  expect(await names({ prefix: "a" })).toEqual(["a%1", "a_2", "ab"]);
  expect(await names({ prefix: "a%" })).toEqual(["a%1"]);
  expect(await names({ prefix: "a_" })).toEqual(["a_2"]);
  expect(await names({ prefix: "\0" })).toEqual([]);
  expect(await names({ sha256: sha256Of("content of b") })).toEqual(["b"]);
  const first = await files.list(workspace, { limit: 3 });
  expect(first.files).toHaveLength(3);
  expect(await files.list(workspace, { limit: 3, after: first.next ?? "" })).toEqual({
    files: [expect.objectContaining({ name: "ab" })],
    next: null,
  });
  for (const query of [{ limit: 0 }, { limit: 1001 }, { limit: 1.5 }, { after: "x" }, { sha256: "abc" }]) {
    await expect(files.list(workspace, query)).rejects.toThrow(code("BAD_REQUEST"));
  }
});

test("changes are kept, and checked as names and types of new files are", async () => {
  const workspace = fresh();
  const file = await put(files, workspace, "a.txt", "x");
  await delay(5);
  const changed = await files.change(workspace, file.id, { name: "b.txt", description: "now", public: true });
  expect(changed).toMatchObject({ name: "b.txt", mimeType: "text/plain", description: "now", public: true, sha256: file.sha256 });
  expect(changed.updatedAt).toBeGreaterThan(file.updatedAt);
  expect(await files.change(workspace, file.id, { description: null })).toMatchObject({ name: "b.txt", description: null });
  await expect(files.change(workspace, file.id, { name: "a/b" })).rejects.toThrow(code("BAD_REQUEST"));
  await expect(files.change(workspace, file.id, { mimeType: "x" })).rejects.toThrow(code("BAD_REQUEST"));
});

test("ranges give their bytes; those outside are refused", async () => {
  const content = randomBytes(1_000_000);
  const file = await put(files, "ranges", "f", content);
  for (const [start, end] of [
    [0, 0],
    [999_999, 999_999],
    [0, 999_999],
    [123_456, 654_321],
  ] as const) {
    expect((await buffer(await files.read(file, { start, end }))).equals(content.subarray(start, end + 1))).toBe(true);
  }
  for (const [start, end] of [
    [-1, 5],
    [5, 4],
    [0, 1_000_000],
    [0.5, 3],
    [Number.NaN, 3],
  ] as const) {
    await expect(files.read(file, { start, end })).rejects.toThrow(code("RANGE_NOT_SATISFIABLE"));
  }
});

test("the quota counts files and announced uploads, holds under concurrency, and stops bytes on their way", async () => {
  const workspace = fresh();
  await expect(files.setQuota("never seen", 5)).rejects.toThrow(code("UNKNOWN_WORKSPACE"));
  const first = await put(files, workspace, "a", Buffer.alloc(400));
  expect(await files.setQuota(workspace, 1_000)).toEqual({ files: 1, bytes: 400, quotaBytes: 1_000 });
  const outcomes = await Promise.allSettled(
    Array.from({ length: 10 }, (_, index) => put(files, workspace, "b", Buffer.alloc(300, index))),
  );
  expect(outcomes.filter((outcome) => outcome.status === "fulfilled")).toHaveLength(2);
  for (const outcome of outcomes)
    if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "QUOTA_EXCEEDED" });
  expect(await files.usage(workspace)).toEqual({ files: 3, bytes: 1_000, quotaBytes: 1_000 });
  await files.remove(workspace, first.id);
  await sql`INSERT INTO uploads (id, workspace_id, holder, name, mime_type, metadata, size, expires_at)
    SELECT ${first.id}::uuid, id, 'h', 'n', 'a/b', '{}', 350, now() + interval '1 h' FROM workspaces WHERE name = ${workspace}`.execute(
    place.store.database,
  );
  await expect(put(files, workspace, "c", Buffer.alloc(60))).rejects.toThrow(code("QUOTA_EXCEEDED"));
  await put(files, workspace, "c", Buffer.alloc(50));
  let sent = 0;
  function* endless(): Generator<Buffer> {
    for (; ; sent += 65_536) yield Buffer.alloc(65_536);
  }
  await expect(files.put(workspace, { name: "d" }, Readable.from(endless()))).rejects.toThrow(code("QUOTA_EXCEEDED"));
  expect(sent).toBeLessThan(4_000_000);
  await expect(files.put(workspace, { name: "d", size: 2 }, Readable.from([]))).rejects.toThrow(code("QUOTA_EXCEEDED"));
  expect((await files.setQuota(workspace, "default")).quotaBytes).toBeNull();
  await put(files, workspace, "d", Buffer.alloc(5_000));
  for (const quota of [-1, 1.5, Number.NaN]) await expect(files.setQuota(workspace, quota)).rejects.toThrow(code("BAD_REQUEST"));
  expect(await staged()).toEqual(["holder"]);
});

test("equal bytes lie in storage once, and count once in the totals", async () => {
  const before = await files.totals();
  const content = randomBytes(1_000);
  const [one, two] = await Promise.all([put(files, fresh(), "a", content), put(files, fresh(), "b", content)]);
  expect(await files.totals()).toEqual({ files: before.files + 2, bytes: before.bytes + 1_000 });
  expect((await files.findByChecksum(one.sha256)).map((file) => file.id)).toEqual([one.id, two.id].toSorted());
  expect(await files.findByChecksum(one.sha256, 1)).toHaveLength(1);
  // Whoever may only see public ones must find theirs, however many private ones are older.
  await files.change(two.workspace, two.id, { public: true });
  expect((await files.findByChecksum(one.sha256, 1))[0]?.id).toBe(two.id);
});

test("links are good for their file until they expire, and for nothing else", async () => {
  const file = await put(files, fresh(), "a", "linked");
  const other = await put(files, fresh(), "b", "other");
  const link = await files.link(file, 60);
  const url = new URL(link.url, "http://localhost");
  expect(url.pathname).toBe(`/files/${file.id}`);
  expect(link.expiresAt - Date.now()).toBeGreaterThan(58_000);
  const query = Object.fromEntries(url.searchParams) as { expires: string; signature: string };
  expect(await files.followLink(file.id, query)).toEqual(file);
  const { expires, signature } = query;
  const forged = [
    [other.id, query],
    [file.id, {}],
    [file.id, { expires }],
    [file.id, { signature }],
    [file.id, { expires: String(Number(expires) + 1), signature }],
    [file.id, { expires: `${expires}.0`, signature }],
    [file.id, { expires: ` ${expires}`, signature }],
    [file.id, { expires, signature: `${signature}A` }],
    [file.id, { expires, signature: signature.slice(1) }],
    [file.id, { expires, signature: `${signature.slice(0, -1)}${signature.endsWith("B") ? "C" : "B"}` }],
    [file.id, { expires, signature: "" }],
    [file.id.toUpperCase(), query],
    ["\0", query],
  ] as const;
  for (const [id, given] of forged) await expect(files.followLink(id, given)).rejects.toThrow(code("LINK_REFUSED"));
  for (const seconds of [0, -1, 1.5, 7 * 24 * 3600 + 1, Number.NaN]) {
    await expect(files.link(file, seconds)).rejects.toThrow(code("BAD_REQUEST"));
  }
  const short = new URL((await files.link(file, 1)).url, "http://localhost");
  await delay(2_000);
  await expect(files.followLink(file.id, Object.fromEntries(short.searchParams))).rejects.toThrow("expired");
  await files.remove(file.workspace, file.id);
  await expect(files.followLink(file.id, query)).rejects.toThrow(code("UNKNOWN_FILE"));
});

test("what a process left in the staging folder is gone after the next start, but for uploads that can be resumed", async () => {
  await using mine = await openPlace();
  const staging = path.join(mine.directory, "staging");
  const file = await put(mine.files, "w", "a", "x");
  const name = await readFile(path.join(staging, "holder"), "utf8");
  const [resumable, dead] = ["01a20164-0000-7000-8000-000000000001", "01a20164-0000-7000-8000-000000000002"];
  await sql`INSERT INTO uploads (id, workspace_id, holder, name, mime_type, metadata, expires_at)
    SELECT ${resumable}::uuid, id, ${name}, 'n', 'a/b', '{}', now() + interval '1 h' FROM workspaces`.execute(
    mine.store.database,
  );
  for (const left of [resumable, dead, "junk"]) await writeFile(path.join(staging, left), "left");
  const again = await mine.reopen();
  expect((await readdir(staging)).toSorted()).toEqual([resumable, "holder"]);
  expect(await readFile(path.join(staging, "holder"), "utf8")).toBe(name);
  expect((await bytesOf(again, file)).toString()).toBe("x");
});
