import { randomBytes } from "node:crypto";
import { readdir, truncate } from "node:fs/promises";
import path from "node:path";
import { PassThrough, Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { TreadleError } from "@treadle/errors";
import { sql } from "kysely";
import { expect, test, vi } from "vitest";
import { bytesOf, openPlace, type Place, sha256Of } from "./place.ts";

vi.setConfig({ testTimeout: 60_000 });

const code = (expected: string) => expect.objectContaining({ code: expected });
const from = (bytes: Uint8Array | string) => Readable.from([Buffer.from(bytes)], { objectMode: false });
/** What is staged: uploads' bytes, and whatever else was left. */
const staged = async (place: Place) =>
  (await readdir(path.join(place.directory, "staging"))).filter((name) => name.length === 36);

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let round = 0; round < 200 && !(await holds()); round++) await delay(25);
  expect(await holds()).toBe(true);
}

test("an upload that rests too long is given up, with its bytes and what it counted; one that goes on is not", async () => {
  await using place = await openPlace({}, { uploadExpiryMs: 1_500, quotaBytes: 1_000 });
  const { uploads } = place.files;
  const resting = await uploads.create("w", { name: "a", size: 600 });
  await uploads.append("w", resting.id, 0, from("x"));
  await expect(uploads.create("w", { name: "b", size: 600 })).rejects.toEqual(code("QUOTA_EXCEEDED"));
  const slow = await uploads.create("w", { name: "c", size: 300 });
  const source = new PassThrough();
  const appending = uploads.append("w", slow.id, 0, source);
  for (let round = 0; round < 10; round++) {
    source.write("x".repeat(10));
    await delay(300);
  }
  source.end("y".repeat(200));
  expect((await appending).file).toMatchObject({ name: "c", size: 300 });
  await expect(uploads.get("w", resting.id)).rejects.toEqual(code("UNKNOWN_UPLOAD"));
  await until(async () => (await staged(place)).length === 0);
  const { id } = await uploads.create("w", { name: "b", size: 600 });
  expect((await uploads.get("w", id)).offset).toBe(0);
});

test("an upload's bytes go with its workspace", async () => {
  await using place = await openPlace({}, { uploadExpiryMs: 60_000_000 });
  const upload = await place.files.uploads.create("gone", { name: "a", size: 10 });
  await place.files.uploads.append("gone", upload.id, 0, from("12345"));
  expect(await staged(place)).toEqual([upload.id]);
  await place.store.workspaces.remove("gone");
  await expect(place.files.uploads.get("gone", upload.id)).rejects.toEqual(code("UNKNOWN_UPLOAD"));
  await place.files[Symbol.asyncDispose]();
  await place.reopen();
  expect(await staged(place)).toEqual([]);
});

test("opened again, an upload goes on where it was, and its bytes are hashed anew", async () => {
  await using place = await openPlace();
  const bytes = randomBytes(200_000);
  const upload = await place.files.uploads.create("w", { name: "a", size: bytes.length, sha256: sha256Of(bytes) });
  await place.files.uploads.append("w", upload.id, 0, from(bytes.subarray(0, 120_000)));
  await place.files[Symbol.asyncDispose]();
  const files = await place.reopen();
  expect((await files.uploads.get("w", upload.id)).offset).toBe(120_000);
  const { file } = await files.uploads.append("w", upload.id, 120_000, from(bytes.subarray(120_000)));
  expect(file?.sha256).toBe(sha256Of(bytes));
  if (file !== null) expect((await bytesOf(files, file)).equals(bytes)).toBe(true);
  expect((await files.uploads.get("w", upload.id)).file?.id).toBe(file?.id);
});

test("bytes that were lost under a carried hash are noticed", async () => {
  await using place = await openPlace();
  const upload = await place.files.uploads.create("w", { name: "a", size: 10 });
  await place.files.uploads.append("w", upload.id, 0, from("12345678"));
  await truncate(path.join(place.directory, "staging", upload.id), 4);
  expect((await place.files.uploads.get("w", upload.id)).offset).toBe(4);
  const { file } = await place.files.uploads.append("w", upload.id, 4, from("567890"));
  expect(file?.sha256).toBe(sha256Of("1234567890"));
});

test("when storage does not take a whole upload it waits with all its bytes, and asking for it tries again", async () => {
  let fails = true;
  await using place = await openPlace({
    onStep: async (step) => {
      if (step === "pinned" && fails) throw new TreadleError("STORAGE_UNAVAILABLE", "The storage does not answer.");
    },
  });
  const { uploads } = place.files;
  const upload = await uploads.create("w", { name: "a", size: 5 });
  await expect(uploads.append("w", upload.id, 0, from("12345"))).rejects.toEqual(code("STORAGE_UNAVAILABLE"));
  await expect(uploads.get("w", upload.id)).rejects.toEqual(code("STORAGE_UNAVAILABLE"));
  expect(await staged(place)).toEqual([upload.id]);
  fails = false;
  const settled = await uploads.get("w", upload.id);
  expect(settled).toMatchObject({ offset: 5, file: { name: "a", sha256: sha256Of("12345") } });
  expect(await staged(place)).toEqual([]);
  expect(await place.files.usage("w")).toMatchObject({ files: 1, bytes: 5 });
});

test("all bytes there and the process slow to die: the file is made once, however many ask for it", async () => {
  const { promise: held, resolve: letGo } = Promise.withResolvers<void>();
  await using place = await openPlace();
  const upload = await place.files.uploads.create("w", { name: "a", size: 5 });
  const hanging = await place.reopen({ onStep: (step) => (step === "put" ? held : Promise.resolve()) });
  const lost = hanging.uploads.append("w", upload.id, 0, from("12345"));
  lost.catch(() => {});
  await until(async () => (await staged(place)).length === 2 || (await place.files.totals()).files === 1);
  const answers = await Promise.all([1, 2, 3].map(() => place.files.uploads.get("w", upload.id)));
  letGo();
  const ids = [...answers, await lost].map(({ file }) => file?.id);
  expect(ids[0]).toBeDefined();
  expect(new Set(ids).size).toBe(1);
  expect(await place.files.usage("w")).toMatchObject({ files: 1, bytes: 5 });
});

test("a file that was made is named until the upload expires; removed, the upload says so no more, and stays done", async () => {
  await using place = await openPlace();
  const { uploads } = place.files;
  const upload = await uploads.create("w", { name: "a", size: 0 });
  const file = upload.file;
  expect(file).toMatchObject({ size: 0, sha256: sha256Of("") });
  await place.files.remove("w", file?.id ?? "");
  expect(await uploads.get("w", upload.id)).toMatchObject({ offset: 0, size: 0, file: null });
  const row = await sql<{ done: boolean }>`SELECT finished_at IS NOT NULL AS done FROM uploads`.execute(place.store.database);
  expect(row.rows).toEqual([{ done: true }]);
});

test("another process' upload is unknown here until it is a file", async () => {
  await using place = await openPlace();
  const upload = await place.files.uploads.create("w", { name: "a", size: 5 });
  await sql`UPDATE uploads SET holder = 'elsewhere'`.execute(place.store.database);
  await expect(place.files.uploads.get("w", upload.id)).rejects.toEqual(code("UNKNOWN_UPLOAD"));
  await expect(place.files.uploads.append("w", upload.id, 0, from("12345"))).rejects.toEqual(code("UNKNOWN_UPLOAD"));
});
