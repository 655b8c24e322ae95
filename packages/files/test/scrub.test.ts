import { chmod, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { buffer } from "node:stream/consumers";
import { sql } from "kysely";
import { expect, test } from "vitest";
import type { StoredFile } from "../src/index.ts";
import { bytesOf, openPlace, type Place, put, sha256Of } from "./place.ts";

const code = (expected: string) => expect.objectContaining({ code: expected });

function pathOf(place: Place, { sha256 }: { sha256: string }): string {
  return path.join(place.directory, "files", sha256.slice(0, 2), sha256.slice(2));
}

/** Changes the bytes of a file, not how many they are. */
async function corrupt(place: Place, file: StoredFile): Promise<void> {
  await chmod(pathOf(place, file), 0o644);
  await writeFile(pathOf(place, file), Buffer.alloc(file.size, "!"));
}

test("a scrub finds what is changed and what is missing, and the same bytes put once more mend both", async () => {
  await using place = await openPlace();
  const { files } = place;
  const [whole, changed, missing] = [
    await put(files, "w", "whole", "whole"),
    await put(files, "w", "changed", "changed"),
    await put(files, "w", "missing", "missing"),
  ];
  expect(await files.scrub()).toEqual({ checked: 3, bytes: 19, damaged: [] });
  await corrupt(place, changed);
  await rm(pathOf(place, missing));
  const result = await files.scrub();
  expect(result.damaged.toSorted()).toEqual([changed.sha256, missing.sha256].toSorted());
  expect(place.warnings.filter((line) => line.includes("missing or changed"))).toHaveLength(2);
  for (const file of [changed, missing]) {
    const found = await files.get("w", file.id);
    expect(found.damaged).toBe(true);
    await expect(files.read(found)).rejects.toThrow(code("FILE_DAMAGED"));
    await expect(files.read(found, { start: 0, end: 0 })).rejects.toThrow(code("FILE_DAMAGED"));
    await expect(files.place(found, path.join(place.directory, "placed"))).rejects.toThrow(code("FILE_DAMAGED"));
    await put(files, "other", "again", file.name);
    expect((await bytesOf(files, await files.get("w", file.id))).toString()).toBe(file.name);
  }
  expect((await files.get("w", whole.id)).damaged).toBe(false);
  expect((await files.scrub()).damaged).toEqual([]);
});

test("reading what is missing or cut short notes the damage; a scrub takes the note back when the bytes are there again", async () => {
  await using place = await openPlace();
  const { files } = place;
  const file = await put(files, "w", "f", "some bytes");
  await rm(pathOf(place, file));
  await expect(files.read(file)).rejects.toThrow(code("FILE_DAMAGED"));
  expect((await files.get("w", file.id)).damaged).toBe(true);
  await writeFile(pathOf(place, file), "some");
  expect((await files.scrub()).damaged).toEqual([file.sha256]);
  await writeFile(pathOf(place, file), "some bytes");
  // What is noted as damaged is looked at whatever was verified when.
  expect((await files.scrub({ verifiedBefore: 0 })).checked).toBe(1);
  expect((await buffer(await files.read(await files.get("w", file.id)))).toString()).toBe("some bytes");
});

test("only what was not verified since is read", async () => {
  await using place = await openPlace();
  const { files } = place;
  await put(files, "w", "f", "old");
  await files.scrub();
  await sql`UPDATE blobs SET verified_at = now() - interval '2 h'`.execute(place.store.database);
  await put(files, "w", "g", "new");
  expect((await files.scrub({ verifiedBefore: Date.now() - 3_600_000 })).bytes).toBe(3);
  expect((await files.scrub({ verifiedBefore: Date.now() - 3_600_000 })).checked).toBe(0);
});

test("bytes without a row are given one, and collection takes them", async () => {
  await using place = await openPlace();
  const { files } = place;
  const file = await put(files, "w", "f", "kept");
  const stray = { sha256: sha256Of("stray") };
  await mkdir(path.dirname(pathOf(place, stray)), { recursive: true });
  await writeFile(pathOf(place, stray), "stray");
  expect(await files.collect()).toEqual({ blobs: 0, bytes: 0 });
  expect((await files.scrub()).damaged).toEqual([]);
  expect(await files.collect()).toEqual({ blobs: 1, bytes: 5 });
  expect(await readdir(path.dirname(pathOf(place, stray)))).toEqual([]);
  expect((await bytesOf(files, file)).toString()).toBe("kept");
});

test("a scrub that is ended says what it has seen", async () => {
  await using place = await openPlace();
  await put(place.files, "w", "f", "x");
  expect(await place.files.scrub({ signal: AbortSignal.abort() })).toEqual({ checked: 0, bytes: 0, damaged: [] });
});

test("collection and scrub run by themselves", async () => {
  await using place = await openPlace({ pinMs: 0, collectEveryMs: 50, scrubEveryMs: 50 });
  const { files } = place;
  const kept = await put(files, "w", "kept", "kept");
  const gone = await put(files, "w", "gone", "gone");
  await files.remove("w", gone.id);
  await expect.poll(() => readdir(path.dirname(pathOf(place, gone)))).toEqual([]);
  await corrupt(place, kept);
  await expect.poll(async () => (await files.get("w", kept.id)).damaged).toBe(true);
});
