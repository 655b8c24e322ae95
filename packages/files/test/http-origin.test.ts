import { randomBytes } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { Files } from "../src/index.ts";
import { createHttpOrigins } from "../src/storage/http/http-origin.ts";
import { openFilesOn, place } from "./imports.files.ts";
import { type LoopbackServer, serve, serveBytes, sha256 } from "./imports.servers.ts";

vi.setConfig({ hookTimeout: 120_000 });

const code = (expected: string, text = "") => expect.objectContaining({ code: expected, message: expect.stringContaining(text) });

let here: Awaited<ReturnType<typeof place>>;
let server: LoopbackServer;
let files: Files;
/** What the server has, by path. */
const held = new Map<string, Buffer>();

beforeAll(async () => {
  here = await place();
  server = await serve((request, response) => {
    const bytes = held.get(request.url ?? "");
    if (bytes === undefined) response.writeHead(404).end();
    else serveBytes(bytes, { ranges: !(request.url ?? "").startsWith("/plain") })(request, response);
  });
  files = await openFilesOn(here.store, here.directory, {
    trusted: [server.authority],
    quotaBytes: 1_000_000,
    fileMaxBytes: 600_000,
  });
});
afterAll(async () => {
  await files?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
  await here?.[Symbol.asyncDispose]();
});

function hold(path: string, bytes = randomBytes(100_000)): { origin: string; sha256: string; size: number; bytes: Buffer } {
  held.set(path, bytes);
  return { origin: server.url(path), sha256: sha256(bytes), size: bytes.length, bytes };
}

test("a reference is a file whose bytes are read at their address", async () => {
  for (const path of ["/ranges", "/plain"]) {
    const { bytes, ...said } = hold(path);
    const before = (await files.usage("refer")).bytes;
    const file = await files.imports.reference("refer", { name: "remote.csv", public: true, ...said });
    expect(file).toMatchObject({ name: "remote.csv", mimeType: "text/csv", public: true, workspace: "refer", ...said });
    expect(await files.get("refer", file.id)).toEqual(file);
    expect((await files.usage("refer")).bytes).toBe(before + bytes.length);
    expect(await buffer(await files.read(file))).toEqual(bytes);
    expect(await buffer(await files.read(file, { start: 50_000, end: 50_009 }))).toEqual(bytes.subarray(50_000, 50_010));
  }
});

test("what is claimed has to be true", async () => {
  const { bytes, ...said } = hold("/claims");
  const refer = (change: object) => files.imports.reference("claims", { name: "x", ...said, ...change });
  await expect(refer({ sha256: sha256("other") })).rejects.toEqual(code("CHECKSUM_MISMATCH"));
  await expect(refer({ size: bytes.length - 1 })).rejects.toEqual(code("CHECKSUM_MISMATCH"));
  await expect(refer({ size: bytes.length + 1 })).rejects.toEqual(code("CHECKSUM_MISMATCH"));
  await expect(refer({ origin: server.url("/none") })).rejects.toEqual(code("IMPORT_FAILED", "404"));
  await expect(refer({ origin: "http://169.254.169.254/" })).rejects.toEqual(code("IMPORT_FAILED", "may not be reached"));
  for (const origin of ["file:///etc/passwd", "/etc/passwd", "", `http://user:pass@${server.authority}/claims`])
    await expect(refer({ origin })).rejects.toEqual(code("BAD_REQUEST"));
  await expect(refer({ name: "a/b" })).rejects.toEqual(code("BAD_REQUEST"));
  await expect(refer({ size: 600_001 })).rejects.toEqual(code("FILE_TOO_LARGE"));
  await expect(refer({ size: -1 })).rejects.toEqual(code("BAD_REQUEST"));
  expect((await files.list("claims")).files).toEqual([]);

  // Whoever knows a digest of others' bytes does not have them.
  const secret = await files.put("others", { name: "secret" }, [Buffer.from("secret")] as never);
  await expect(refer({ sha256: secret.sha256, size: secret.size })).rejects.toEqual(code("CHECKSUM_MISMATCH"));
});

test("references count to the quota", async () => {
  for (const path of ["/q1", "/q2"]) {
    const { bytes: _, ...said } = hold(path, randomBytes(450_000));
    await files.imports.reference("quota", { name: "x", ...said });
  }
  const { bytes: _, ...said } = hold("/q3", randomBytes(450_000));
  await expect(files.imports.reference("quota", { name: "x", ...said })).rejects.toEqual(code("QUOTA_EXCEEDED"));
  expect(await files.usage("quota")).toMatchObject({ files: 2, bytes: 900_000 });
});

test("bytes that are in storage are read from there, whichever came first", async () => {
  const first = hold("/stored-first");
  const { bytes, ...said } = first;
  await files.put("both", { name: "stored" }, [bytes] as never);
  expect(await files.imports.reference("both", { name: "referred", ...said })).toMatchObject({ origin: null });

  const second = hold("/referred-first");
  const { bytes: later, ...claim } = second;
  const referred = await files.imports.reference("both", { name: "referred", ...claim });
  expect(referred.origin).toBe(claim.origin);
  await files.put("both", { name: "stored" }, [later] as never);
  held.delete("/referred-first");
  const now = await files.get("both", referred.id);
  expect(now.origin).toBeNull();
  expect(await buffer(await files.read(now))).toEqual(later);
});

test("a row that a put left without bytes is read from the reference's address", async () => {
  const { bytes, ...said } = hold("/left");
  await here.store.files.blobs.pin({ sha256: said.sha256, size: said.size }, 60_000);
  const file = await files.imports.reference("left", { name: "x", ...said });
  expect(file.origin).toBe(said.origin);
  expect(await buffer(await files.read(file))).toEqual(bytes);
});

test("bytes that have changed or gone at their address are told", async () => {
  const { bytes, ...said } = hold("/changing");
  const file = await files.imports.reference("changing", { name: "x", ...said });
  held.set("/changing", randomBytes(bytes.length));
  await expect(files.read(file).then(buffer)).rejects.toEqual(code("FILE_DAMAGED"));
  held.set("/changing", bytes.subarray(1));
  await expect(files.read(file)).rejects.toEqual(code("FILE_DAMAGED", "99999 bytes now"));
  await expect(files.read(file, { start: 0, end: 9 })).rejects.toEqual(code("FILE_DAMAGED"));
  held.delete("/changing");
  await expect(files.read(file)).rejects.toEqual(code("FILE_DAMAGED", "any more"));
  held.set("/changing", bytes);
  expect(await buffer(await files.read(file))).toEqual(bytes);
});

test("an origin that cannot be reached says nothing of the bytes", async () => {
  const origins = createHttpOrigins([]);
  await expect(origins.read(server.url("/ranges"), 5)).rejects.toEqual(code("IMPORT_FAILED", "may not be reached"));
});
