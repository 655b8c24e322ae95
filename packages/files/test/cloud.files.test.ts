import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import { expect, test, vi } from "vitest";
import { bytesOf, openPlace, put, sha256Of } from "./place.ts";
import { BUCKET, S3_KEYS, startS3rver } from "./servers/s3-servers.ts";

// The first run installs the storage server.
vi.setConfig({ testTimeout: 240_000 });

test("files in a bucket: put once, read, linked by the bucket itself, placed from a copy, collected", async () => {
  await using server = await startS3rver();
  await using place = await openPlace(
    { pinMs: 1 },
    { storageUrl: `s3://${BUCKET}/files?endpoint=${server.origin}`, environment: S3_KEYS },
  );
  const { files } = place;
  const bytes = randomBytes(300_000);

  const [first, second] = await Promise.all([put(files, "one", "a.bin", bytes), put(files, "two", "b c.txt", bytes)]);
  expect(first.sha256).toBe(sha256Of(bytes));
  expect((await bytesOf(files, second)).equals(bytes)).toBe(true);
  expect(await files.totals()).toEqual({ files: 2, bytes: bytes.length });

  const link = await files.link(second, 60);
  expect(new URL(link.url).origin).toBe(server.origin);
  const answer = await fetch(link.url);
  expect(Buffer.from(await answer.arrayBuffer()).equals(bytes)).toBe(true);
  expect(answer.headers.get("content-type")).toBe("text/plain");
  expect(answer.headers.get("content-disposition")).toContain("attachment");

  const placed = path.join(place.directory, "placed");
  await files.place(first, placed);
  expect((await readFile(placed)).equals(bytes)).toBe(true);

  await files.remove("one", first.id);
  expect((await files.collect()).blobs).toBe(0);
  await files.remove("two", second.id);
  expect((await files.collect()).blobs).toBe(1);
  expect((await fetch(link.url)).status).toBe(404);

  const again = await put(files, "one", "a.bin", bytes);
  expect((await bytesOf(files, again)).equals(bytes)).toBe(true);
});

test("uploads and resumed uploads become objects of a bucket; a bucket that is gone is told, and loses nothing", async () => {
  await using server = await startS3rver();
  await using place = await openPlace({}, { storageUrl: `s3://${BUCKET}?endpoint=${server.origin}`, environment: S3_KEYS });
  const { files } = place;
  const bytes = randomBytes(18 * 1024 * 1024);
  const upload = await files.uploads.create("w", { name: "parts.bin", size: bytes.length });
  const half = bytes.length / 2;
  await files.uploads.append("w", upload.id, 0, Readable.from([bytes.subarray(0, half)]));
  const done = await files.uploads.append("w", upload.id, half, Readable.from([bytes.subarray(half)]));
  if (done.file === null) throw new Error("the upload has not become a file");
  expect((await bytesOf(files, done.file)).equals(bytes)).toBe(true);

  const last = await files.uploads.create("w", { name: "late.bin", size: 5 });
  await server.stop();
  await expect(put(files, "w", "never.bin", "never")).rejects.toMatchObject({ code: "STORAGE_UNAVAILABLE" });
  await expect(files.uploads.append("w", last.id, 0, Readable.from([Buffer.from("hello")]))).rejects.toMatchObject({
    code: "STORAGE_UNAVAILABLE",
  });
  // All its bytes are here; asking for it tries to bring them there again.
  await expect(files.uploads.get("w", last.id)).rejects.toMatchObject({ code: "STORAGE_UNAVAILABLE" });
  expect((await files.list("w")).files.map((file) => file.name)).toEqual(["parts.bin"]);
});
