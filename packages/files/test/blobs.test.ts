import { rm } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { createExecutionId, type Store } from "@treadle/store";
import { expect, test } from "vitest";
import type { Files } from "../src/index.ts";
import { openPlace, sha256Of } from "./place.ts";

const BYTES = Buffer.from("bytes of a build");

const put = (files: Files, bytes = BYTES) => files.blobs.put(Readable.from([bytes]));

async function refer(store: Store, sha256: string): Promise<string> {
  const build = {
    ...{ id: createExecutionId(), language: "node", runtime: "node-24", entrypoint: null, command: null },
    ...{ sourceSha256: sha256, sourceDigest: sha256, sourceBytes: 1, sourceFiles: 1, key: sha256 },
  };
  return (await store.builds.request(build)).build.id;
}

test("bytes are kept under their digest and given back", async () => {
  await using place = await openPlace();
  const kept = await put(place.files);
  expect(kept).toEqual({ sha256: sha256Of(BYTES), bytes: BYTES.length });
  expect(await buffer(await place.files.blobs.read(kept.sha256))).toEqual(BYTES);
  expect(await put(place.files)).toEqual(kept);
  expect(await place.files.totals()).toEqual({ files: 0, bytes: 0 });
});

test("they stay while pinned or referred to, and no longer", async () => {
  await using place = await openPlace({ pinMs: 300 });
  const [pinned, referred] = [await put(place.files, Buffer.from("nobody's")), await put(place.files)];
  const id = await refer(place.store, referred.sha256);
  expect(await place.files.collect()).toEqual({ blobs: 0, bytes: 0 });
  await new Promise((resolve) => setTimeout(resolve, 400));
  expect(await place.files.collect()).toEqual({ blobs: 1, bytes: pinned.bytes });
  await expect(place.files.blobs.read(pinned.sha256)).rejects.toMatchObject({ code: "FILE_DAMAGED" });
  expect(await buffer(await place.files.blobs.read(referred.sha256))).toEqual(BYTES);
  await place.store.builds.cancel(id);
  expect(await place.store.builds.prune(0)).toEqual([id]);
  expect(await place.files.collect()).toEqual({ blobs: 1, bytes: referred.bytes });
});

test("a request whose source has been collected meanwhile is refused", async () => {
  await using place = await openPlace({ pinMs: 0 });
  const { sha256 } = await put(place.files);
  await place.files.collect();
  await expect(refer(place.store, sha256)).rejects.toMatchObject({ code: "STORAGE_UNAVAILABLE" });
});

test("too many bytes, and a source that breaks, leave nothing", async () => {
  await using place = await openPlace({ pinMs: 0 });
  await expect(place.files.blobs.put(Readable.from([BYTES]), { maxBytes: 3 })).rejects.toMatchObject({ code: "FILE_TOO_LARGE" });
  const broken = Readable.from(
    (async function* () {
      yield BYTES;
      throw new Error("the connection broke");
    })(),
  );
  await expect(place.files.blobs.put(broken)).rejects.toThrow("the connection broke");
  expect(await place.files.collect()).toEqual({ blobs: 0, bytes: 0 });
});

test("lost bytes are said to be lost, found by the scrub, and mended by the next put", async () => {
  await using place = await openPlace();
  const { sha256 } = await put(place.files);
  await refer(place.store, sha256);
  await rm(path.join(place.directory, "files", sha256.slice(0, 2), sha256.slice(2)));
  await expect(place.files.blobs.read(sha256)).rejects.toMatchObject({ code: "FILE_DAMAGED" });
  expect((await place.store.files.blobs.find(sha256))?.damaged).toBe(true);
  expect((await place.files.scrub()).damaged).toEqual([sha256]);
  await put(place.files);
  expect(await buffer(await place.files.blobs.read(sha256))).toEqual(BYTES);
});
