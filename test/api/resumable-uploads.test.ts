import { createHash, randomBytes } from "node:crypto";
import { readdirSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Upload } from "tus-js-client";
import { describe, expect, test } from "vitest";
import type { Answer } from "../harness/http.ts";
import { Place } from "../harness/place.ts";
import type { Server } from "../harness/server.ts";
import { sharedServer } from "../harness/shared-server.ts";

const server = sharedServer({ flags: { prewarmed: "0", "file-max-size": "64mb", "request-max-size": "64kb" } });

const TUS = { "tus-resumable": "1.0.0" };
const BYTES = "application/offset+octet-stream";
const PATH = "/api/v1/workspaces/w/uploads";
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const encode = (metadata: Record<string, string>) =>
  Object.entries(metadata)
    .map(([key, value]) => `${key} ${Buffer.from(value).toString("base64")}`)
    .join(",");

async function create(headers: Record<string, string>, path = PATH): Promise<string> {
  const answer = await server.send("POST", path, undefined, { headers: { ...TUS, ...headers } });
  expect(answer.status, answer.text).toBe(201);
  return String(answer.headers.location);
}

function append(path: string, offset: number, bytes: Uint8Array | string, headers: Record<string, string> = {}): Promise<Answer> {
  return server.send("PATCH", path, bytes, {
    headers: { ...TUS, "content-type": BYTES, "upload-offset": String(offset), ...headers },
  });
}

const head = (path: string) => server.send("HEAD", path, undefined, { headers: TUS });

/** The bytes of a file, hashed. */
async function digestOf(from: Server, workspace: string, file: string): Promise<{ sha256: string; size: number; name: string }> {
  const answer = await from.send("GET", `/api/v1/workspaces/${workspace}/files/${file}`);
  expect(answer.status, answer.text).toBe(200);
  const content = await fetch(`http://127.0.0.1:${from.port}/api/v1/workspaces/${workspace}/files/${file}/content`);
  const bytes = new Uint8Array(await content.arrayBuffer());
  const view = answer.json as unknown as { sha256: string; size: number; name: string };
  expect(sha256(bytes)).toBe(view.sha256);
  return view;
}

/** Uploads with the reference client; resolves to the upload's address and the file's id. */
function clientUpload(
  endpoint: string,
  bytes: Buffer,
  options: { chunkSize?: number; deferred?: boolean; url?: string; onProgress?: (sent: number, upload: Upload) => void } = {},
): Promise<{ url: string; file: string }> {
  return new Promise((resolve, reject) => {
    let file = "";
    const upload = new Upload(bytes, {
      endpoint,
      ...(options.url === undefined ? {} : { uploadUrl: options.url }),
      chunkSize: options.chunkSize ?? Number.POSITIVE_INFINITY,
      retryDelays: [0, 500, 1_000, 2_000, 3_000, 5_000, 5_000, 10_000, 10_000],
      metadata: { filename: "from-client.bin", filetype: "application/x-test", description: "by tus" },
      ...(options.deferred === true ? { uploadLengthDeferred: true } : {}),
      onAfterResponse: (_request, response) => {
        file = response.getHeader("treadle-file") ?? file;
      },
      onProgress: (sent) => options.onProgress?.(sent, upload),
      onError: reject,
      onSuccess: () => resolve({ url: upload.url ?? "", file }),
    });
    upload.start();
  });
}

describe("the reference client", () => {
  const endpoint = () => `http://127.0.0.1:${server.port}${PATH}`;

  test("uploads in one piece, in chunks, and with a length said at the end", async () => {
    const bytes = randomBytes(5_000_000);
    for (const options of [{}, { chunkSize: 700_000 }, { chunkSize: 1_000_000, deferred: true }]) {
      const { file } = await clientUpload(endpoint(), bytes, options);
      expect(await digestOf(server, "w", file)).toMatchObject({
        ...{ name: "from-client.bin", mimeType: "application/x-test", description: "by tus" },
        ...{ sha256: sha256(bytes), size: bytes.length },
      });
    }
  });

  test("pauses and goes on, and can give up", async () => {
    const bytes = randomBytes(3_000_000);
    let url = "";
    await new Promise<void>((resolve, reject) => {
      void clientUpload(endpoint(), bytes, {
        chunkSize: 500_000,
        onProgress: (sent, upload) => {
          if (sent < 1_000_000 || url !== "") return;
          url = upload.url ?? "";
          upload.abort().then(resolve, reject);
        },
      }).catch(reject);
    });
    const offset = Number((await head(new URL(url).pathname)).headers["upload-offset"]);
    expect(offset).toBeGreaterThan(0);
    expect(offset).toBeLessThan(bytes.length);
    const { file } = await clientUpload(endpoint(), bytes, { url });
    expect((await digestOf(server, "w", file)).sha256).toBe(sha256(bytes));
    const given = await create({ "upload-length": "10" });
    await Upload.terminate(`http://127.0.0.1:${server.port}${given}`);
    expect((await head(given)).status).toBe(404);
  });

  test("carries on through kill -9 of the server", async () => {
    await using place = new Place();
    const flags = { prewarmed: "0", "files-quota": "1gb" };
    let running = await place.start(flags);
    const { port } = running;
    const bytes = randomBytes(50_000_000);
    const { promise: midway, resolve: reached } = Promise.withResolvers<void>();
    const done = clientUpload(`http://127.0.0.1:${port}/api/v1/workspaces/k/uploads`, bytes, {
      chunkSize: 4_000_000,
      onProgress: (sent) => {
        if (sent > 15_000_000) reached();
      },
    });
    done.catch(() => {});
    await midway;
    place.observe();
    await running.kill();
    running = await place.start({ ...flags, port: String(port) });
    const { file, url } = await done;
    expect(await digestOf(running, "k", file)).toMatchObject({ sha256: sha256(bytes), size: bytes.length });
    // The answer that named the file may be lost: until it expires the upload says so again, also after a restart.
    place.observe();
    await running.kill();
    running = await place.start({ ...flags, port: String(port) });
    const again = await running.send("HEAD", new URL(url).pathname, undefined, { headers: TUS });
    expect([again.status, again.headers["upload-offset"], again.headers["treadle-file"]]).toEqual([
      200,
      String(bytes.length),
      file,
    ]);
    const usage = await running.send("GET", "/api/v1/workspaces/k/usage");
    expect(usage.json).toMatchObject({ files: 1, bytes: bytes.length });
    expect(readdirSync(join(place.dataDirectory, "staging")).filter((name) => name.length === 36)).toEqual([]);
    place.observe();
    await running.stop();
    expect(await place.leftovers()).toEqual([]);
  }, 120_000);
});

describe("the protocol", () => {
  test("says what it can do", async () => {
    const answer = await server.send("OPTIONS", PATH);
    expect(answer.status).toBe(204);
    expect(answer.headers).toMatchObject({
      "tus-resumable": "1.0.0",
      "tus-version": "1.0.0",
      "tus-extension": "creation,creation-with-upload,creation-defer-length,expiration,termination",
      "tus-max-size": String(64 * 1024 * 1024),
    });
  });

  test("an upload step by step, with its metadata", async () => {
    const metadata = encode({ filename: "ü.txt", public: "true", note: "", __proto__x: "1" }).replace("note ", "note");
    const path = await create({ "upload-length": "10", "upload-metadata": metadata });
    expect(path).toMatch(/^\/api\/v1\/workspaces\/w\/uploads\/[0-9a-f-]{36}$/);
    const begun = await head(path);
    expect(begun.headers).toMatchObject({
      "upload-offset": "0",
      "upload-length": "10",
      "upload-metadata": metadata,
      "cache-control": "no-store",
    });
    expect(Date.parse(String(begun.headers["upload-expires"]))).toBeGreaterThan(Date.now() + 3_600_000);
    const first = await append(path, 0, "01234");
    expect([first.status, first.headers["upload-offset"], first.headers["treadle-file"]]).toEqual([204, "5", undefined]);
    const last = await append(path, 5, "56789");
    expect([last.status, last.headers["upload-offset"]]).toEqual([204, "10"]);
    const file = String(last.headers["treadle-file"]);
    expect(await digestOf(server, "w", file)).toMatchObject({ name: "ü.txt", public: true, mimeType: "text/plain", size: 10 });
    expect((await head(path)).headers).toMatchObject({ "upload-offset": "10", "treadle-file": file });
    // Sent once more by a client that missed the answer.
    expect((await append(path, 10, "")).headers["treadle-file"]).toBe(file);
    expect((await append(path, 5, "56789")).status).toBe(409);
    expect((await server.send("DELETE", path, undefined, { headers: TUS })).status).toBe(204);
    expect((await head(path)).status).toBe(404);
    await digestOf(server, "w", file);
  });

  test("bytes with the creation; nothing at all", async () => {
    const whole = await server.send("POST", PATH, "hello", { headers: { ...TUS, "upload-length": "5", "content-type": BYTES } });
    expect([whole.status, whole.headers["upload-offset"]]).toEqual([201, "5"]);
    expect((await digestOf(server, "w", String(whole.headers["treadle-file"]))).name).toBe("upload");
    const empty = await server.send("POST", PATH, undefined, { headers: { ...TUS, "upload-length": "0" } });
    expect(empty.status).toBe(201);
    expect((await digestOf(server, "w", String(empty.headers["treadle-file"]))).size).toBe(0);
  });

  test("a length that is said later", async () => {
    const path = await create({ "upload-defer-length": "1" });
    expect((await head(path)).headers).toMatchObject({ "upload-defer-length": "1", "upload-offset": "0" });
    expect((await append(path, 0, "abc")).headers["upload-offset"]).toBe("3");
    expect((await append(path, 3, "", { "upload-length": "2" })).status).toBe(409);
    expect((await append(path, 3, "d", { "upload-length": "5" })).headers["upload-offset"]).toBe("4");
    expect((await append(path, 4, "", { "upload-length": "6" })).status).toBe(409);
    expect((await head(path)).headers["upload-length"]).toBe("5");
    const last = await append(path, 4, "e");
    expect((await digestOf(server, "w", String(last.headers["treadle-file"]))).size).toBe(5);
    const all = await create({ "upload-defer-length": "1" });
    await append(all, 0, "abc");
    expect((await append(all, 3, "", { "upload-length": "3" })).headers["treadle-file"]).toBeDefined();
  });

  test("offsets that are not where the upload is are conflicts, and change nothing", async () => {
    const path = await create({ "upload-length": "10" });
    await append(path, 0, "01234");
    for (const offset of [0, 4, 6, 10, 11]) {
      const answer = await append(path, offset, "x");
      expect([answer.status, answer.code], String(offset)).toEqual([409, "CONFLICT"]);
    }
    expect((await head(path)).headers["upload-offset"]).toBe("5");
    const more = await append(path, 5, "0123456789");
    expect([more.status, more.code]).toEqual([413, "FILE_TOO_LARGE"]);
    expect((await head(path)).headers["upload-offset"]).toBe("5");
  });

  test("bytes that are not those promised remove the upload", async () => {
    const path = await create({ "upload-length": "3", "upload-metadata": encode({ sha256: "0".repeat(64) }) });
    const answer = await append(path, 0, "abc");
    expect([answer.status, answer.code]).toEqual([422, "CHECKSUM_MISMATCH"]);
    expect((await head(path)).status).toBe(404);
    const kept = await create({ "upload-length": "3", "upload-metadata": encode({ sha256: sha256(Buffer.from("abc")) }) });
    expect((await append(kept, 0, "abc")).status).toBe(204);
  });

  test("a second request is turned away while bytes come, and takes over once they stall", async () => {
    const path = await create({ "upload-length": "1000" });
    const socket = connect(server.port, "127.0.0.1");
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.on("error", () => {});
    socket.write(
      `PATCH ${path} HTTP/1.1\r\nhost: localhost\r\ntus-resumable: 1.0.0\r\ncontent-type: ${BYTES}\r\nupload-offset: 0\r\ncontent-length: 1000\r\n\r\n`,
    );
    socket.write(Buffer.alloc(100, 1));
    await delay(300);
    const busy = await append(path, 100, Buffer.alloc(900, 2));
    expect([busy.status, busy.code]).toEqual([423, "CONFLICT"]);
    expect((await head(path)).headers["upload-offset"]).toBe("100");
    await delay(1_200);
    const taken = await append(path, 100, Buffer.alloc(900, 2));
    expect([taken.status, taken.headers["upload-offset"]]).toEqual([204, "1000"]);
    await closed;
    const { sha256: digest } = await digestOf(server, "w", String(taken.headers["treadle-file"]));
    expect(digest).toBe(sha256(Buffer.concat([Buffer.alloc(100, 1), Buffer.alloc(900, 2)])));
  });

  test("what came before a connection broke is kept", async () => {
    const path = await create({ "upload-length": "1000000" });
    const bytes = randomBytes(1_000_000);
    const socket = connect(server.port, "127.0.0.1");
    socket.write(
      `PATCH ${path} HTTP/1.1\r\nhost: localhost\r\ntus-resumable: 1.0.0\r\ncontent-type: ${BYTES}\r\nupload-offset: 0\r\ncontent-length: 1000000\r\n\r\n`,
    );
    socket.write(bytes.subarray(0, 400_000));
    await delay(300);
    socket.destroy();
    await delay(300);
    const offset = Number((await head(path)).headers["upload-offset"]);
    expect(offset).toBe(400_000);
    const last = await append(path, offset, bytes.subarray(offset));
    expect((await digestOf(server, "w", String(last.headers["treadle-file"]))).sha256).toBe(sha256(bytes));
  });

  test("many requests at once for one upload: each byte comes once", async () => {
    const path = await create({ "upload-length": "500000" });
    const bytes = randomBytes(500_000);
    const answers = await Promise.all(Array.from({ length: 10 }, () => append(path, 0, bytes).catch(() => null)));
    const statuses = answers.map((answer) => answer?.status);
    expect(statuses.filter((status) => status === 204)).toHaveLength(1);
    for (const status of statuses) expect([204, 409, 423]).toContain(status);
    const file = String(answers.find((answer) => answer?.status === 204)?.headers["treadle-file"]);
    expect((await digestOf(server, "w", file)).sha256).toBe(sha256(bytes));
  });

  test("announced lengths count to the quota at once, and no longer when given up", async () => {
    const path = "/api/v1/workspaces/quota/uploads";
    await create({ "upload-length": "10" }, path);
    await server.send("PUT", "/api/v1/workspaces/quota/quota", { quotaBytes: 1_000 });
    const big = await create({ "upload-length": "900" }, path);
    const refused = await server.send("POST", path, undefined, { headers: { ...TUS, "upload-length": "100" } });
    expect([refused.status, refused.code]).toEqual([413, "QUOTA_EXCEEDED"]);
    const file = await server.send("POST", "/api/v1/workspaces/quota/files?name=a", Buffer.alloc(100), {
      headers: { "content-type": "x/y" },
    });
    expect(file.code).toBe("QUOTA_EXCEEDED");
    await server.send("DELETE", big, undefined, { headers: TUS });
    await create({ "upload-length": "100" }, path);
    const deferred = await create({ "upload-defer-length": "1" }, path);
    expect((await append(deferred, 0, Buffer.alloc(500))).status).toBe(204);
    expect((await append(deferred, 500, Buffer.alloc(500))).status).toBe(204);
    expect((await append(deferred, 1_000, Buffer.alloc(500))).code).toBe("QUOTA_EXCEEDED");
    expect((await append(deferred, 1_000, "", { "upload-length": "1000" })).code).toBe("QUOTA_EXCEEDED");
  });

  test("another workspace's upload is unknown", async () => {
    const path = (await create({ "upload-length": "10" })).replace("/w/", "/other/");
    for (const answer of [await append(path, 0, "x"), await server.send("DELETE", path, undefined, { headers: TUS })])
      expect([answer.status, answer.code]).toEqual([404, "UNKNOWN_UPLOAD"]);
    expect((await head(path)).status).toBe(404);
  });

  test.each([
    [{ "upload-length": "10", "tus-resumable": "0.9" }, 412],
    [{}, 400],
    [{ "upload-length": "10", "upload-defer-length": "1" }, 400],
    [{ "upload-defer-length": "2" }, 400],
    [{ "upload-length": "-1" }, 400],
    [{ "upload-length": "1e3" }, 400],
    [{ "upload-length": "99999999999999999999" }, 400],
    [{ "upload-length": "9007199254740991" }, 413],
    [{ "upload-length": String(64 * 1024 * 1024 + 1) }, 413],
    [{ "upload-length": "1", "upload-metadata": "filename !!!" }, 400],
    [{ "upload-length": "1", "upload-metadata": "filename /w==" }, 400],
    [{ "upload-length": "1", "upload-metadata": "a,a" }, 400],
    [{ "upload-length": "1", "upload-metadata": "a b c" }, 400],
    [{ "upload-length": "1", "upload-metadata": ",,," }, 400],
    [{ "upload-length": "1", "upload-metadata": encode({ filename: "a\0b" }) }, 400],
    [{ "upload-length": "1", "upload-metadata": encode({ filename: "../a" }) }, 400],
    [{ "upload-length": "1", "upload-metadata": encode({ filename: "n".repeat(256) }) }, 400],
    [{ "upload-length": "1", "upload-metadata": encode({ filetype: "x\r\ny" }) }, 400],
    [{ "upload-length": "1", "upload-metadata": encode({ sha256: "x" }) }, 400],
  ] as [Record<string, string>, number][])("a creation with %j is refused", async (headers, status) => {
    const answer = await server.send("POST", PATH, undefined, { headers: { ...TUS, ...headers } });
    expect(answer.status, answer.text).toBe(status);
    expect(answer.json.error).toMatchObject({ code: expect.any(String), help: expect.any(String) });
  });

  test("a PATCH of another type, or without an offset, is refused", async () => {
    const path = await create({ "upload-length": "10" });
    expect((await append(path, 0, "x", { "content-type": "application/octet-stream" })).status).toBe(415);
    for (const offset of ["", "x", "-1", "1.5", "99999999999999999999"])
      expect((await append(path, 0, "x", { "upload-offset": offset })).status, offset).toBe(400);
    expect((await append(`${PATH}/nonsense`, 0, "x")).code).toBe("UNKNOWN_UPLOAD");
  });
});
