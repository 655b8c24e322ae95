import { randomBytes, randomInt } from "node:crypto";
import { readdir } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { sql } from "kysely";
import { expect, test } from "vitest";
import { assembleFiles, type FilesTuning } from "../src/assemble-files.ts";
import type { StoredFile } from "../src/index.ts";
import { bytesOf, openPlace, optionsFor, put, QUIET, sha256Of } from "./place.ts";

/** 10,000 by `npm run test:faults`, where they take most of a minute. */
const OPERATIONS = process.env.TREADLE_FAULT_ROUNDS === undefined ? 2_000 : 10_000;
const WORKERS = 8;

async function digestsIn(storage: string): Promise<string[]> {
  const names = await readdir(storage, { recursive: true, withFileTypes: true });
  return names
    .filter((entry) => entry.isFile())
    .map((entry) => `${path.basename(entry.parentPath)}${entry.name}`)
    .toSorted();
}

/**
 * Two openings of the files, as two processes would have them on one storage; few contents, so that everybody is at the same digests; pins of no length, so
 * that collection may take a blob between any two steps of a put.
 */
test(
  `collection under concurrent puts and removals loses nothing in ${OPERATIONS} operations`,
  async () => {
    await using place = await openPlace();
    const storage = path.join(place.directory, "shared");
    const storageUrl = pathToFileURL(storage).href;
    // Now and then a put rests between two steps, where collection and the others are to overtake it.
    const onStep = (): Promise<unknown> | null => (Math.random() < 0.1 ? delay(30 * Math.random()) : null);
    const tuning: FilesTuning = { ...QUIET, pinMs: 0, onStep: async () => void (await onStep()) };
    await using one = await assembleFiles(optionsFor(place.store, path.join(place.directory, "one"), { storageUrl }), tuning);
    await using two = await assembleFiles(optionsFor(place.store, path.join(place.directory, "two"), { storageUrl }), tuning);
    const contents = Array.from({ length: 8 }, (_, index) => randomBytes(index * 997));
    const kept = new Map<string, { file: StoredFile; content: Buffer }>();
    const removed: StoredFile[] = [];
    let left = OPERATIONS;
    let collections = 0;
    let collected = 0;
    const counts = { put: 0, remove: 0, read: 0 };

    const worker = async (index: number): Promise<void> => {
      const files = index % 2 === 0 ? one : two;
      const mine: string[] = [];
      while (left-- > 0) {
        // Few files at a time, so that blobs are forever losing their last one.
        const dice = mine.length > 1 ? 0.5 + Math.random() / 2 : Math.random();
        const at = randomInt(Math.max(1, mine.length));
        const id = mine[at];
        const own = id === undefined ? undefined : kept.get(id);
        if (own === undefined || dice < 0.5) {
          const content = contents[randomInt(contents.length)] as Buffer;
          const file = await put(files, `w${index % 3}`, "f", content);
          kept.set(file.id, { file, content });
          mine.push(file.id);
          counts.put++;
        } else if (dice < 0.93) {
          kept.delete(own.file.id);
          mine.splice(at, 1);
          await files.remove(own.file.workspace, own.file.id);
          removed.push(own.file);
          counts.remove++;
        } else {
          expect(await bytesOf(files, own.file)).toEqual(own.content);
          counts.read++;
        }
      }
    };
    const collector = async (files: typeof one): Promise<void> => {
      while (left > 0) {
        collected += (await files.collect()).blobs;
        collections++;
      }
    };
    await Promise.all([...Array.from({ length: WORKERS }, (_, index) => worker(index)), collector(one), collector(two)]);
    console.log(`${JSON.stringify(counts)}; ${collections} collections removed ${collected} blobs`);
    expect(collected).toBeGreaterThan(OPERATIONS / 20);

    for (const { file, content } of kept.values()) {
      const found = await one.get(file.workspace, file.id);
      expect(found.damaged).toBe(false);
      expect((await bytesOf(two, found)).equals(content)).toBe(true);
    }
    for (const file of removed) expect(await one.find(file.id)).toBeNull();
    await one.collect();
    const used = new Set([...kept.values()].map(({ file }) => file.sha256));
    expect(await digestsIn(storage)).toEqual([...used].toSorted());
    expect((await one.scrub()).damaged).toEqual([]);
    expect(await one.totals()).toEqual({
      files: kept.size,
      bytes: [...new Map([...kept.values()].map(({ file }) => [file.sha256, file.size])).values()].reduce((a, b) => a + b, 0),
    });
    for (const holder of ["one", "two"]) {
      expect(await readdir(path.join(place.directory, holder, "staging"))).toEqual(["holder"]);
    }
  },
  60_000 + OPERATIONS * 30,
);

test("a put that found bytes in storage does not trust the row of their successor, whose bytes are still to come", async () => {
  const reached = { first: Promise.withResolvers<void>(), second: Promise.withResolvers<void>() };
  const go = { first: Promise.withResolvers<void>(), second: Promise.withResolvers<void>() };
  const restAt =
    (which: "first" | "second", at: string): FilesTuning["onStep"] =>
    async (step) => {
      if (step !== at) return;
      reached[which].resolve();
      await go[which].promise;
    };
  await using place = await openPlace();
  const storageUrl = pathToFileURL(path.join(place.directory, "shared")).href;
  const open = (name: string, onStep: FilesTuning["onStep"]) =>
    assembleFiles(optionsFor(place.store, path.join(place.directory, name), { storageUrl }), {
      ...QUIET,
      pinMs: 0,
      ...(onStep === undefined ? {} : { onStep }),
    });
  await using files = await open("here", undefined);
  await using one = await open("one", restAt("first", "put"));
  await using two = await open("two", restAt("second", "pinned"));
  const old = await put(files, "w", "old", "the same");
  const first = put(one, "w", "first", "the same");
  await reached.first.promise;
  await files.remove("w", old.id);
  expect((await files.collect()).blobs).toBe(1);
  const second = put(two, "w", "second", "the same");
  await reached.second.promise;
  go.first.resolve();
  expect((await bytesOf(files, await first)).toString()).toBe("the same");
  go.second.resolve();
  expect((await bytesOf(files, await second)).toString()).toBe("the same");
});

test("bytes stay while a pin holds them or a file has them, and go when neither does", async () => {
  await using place = await openPlace({ pinMs: 1_000 });
  const { files, store } = place;
  const first = await put(files, "w", "a", "shared");
  const second = await put(files, "v", "b", "shared");
  await files.remove("w", first.id);
  await sql`UPDATE blobs SET pinned_until = now() - interval '1 s'`.execute(store.database);
  expect(await files.collect()).toEqual({ blobs: 0, bytes: 0 });
  await files.remove("v", second.id);
  await sql`UPDATE blobs SET pinned_until = now() + interval '1 h'`.execute(store.database);
  expect(await files.collect()).toEqual({ blobs: 0, bytes: 0 });
  expect(await digestsIn(path.join(place.directory, "files"))).toEqual([sha256Of("shared")]);
  await sql`UPDATE blobs SET pinned_until = now() - interval '1 s'`.execute(store.database);
  expect(await files.collect()).toEqual({ blobs: 1, bytes: 6 });
  expect(await digestsIn(path.join(place.directory, "files"))).toEqual([]);
});

test("what another table refers to is not collected, and not looked at again for a day", async () => {
  await using place = await openPlace({ pinMs: 0 });
  const { files, store } = place;
  const file = await put(files, "w", "a", "used elsewhere");
  await sql`CREATE TABLE elsewhere (sha256 bytea REFERENCES blobs (sha256))`.execute(store.database);
  await sql`INSERT INTO elsewhere VALUES (${Buffer.from(file.sha256, "hex")})`.execute(store.database);
  await files.remove("w", file.id);
  expect(await files.collect()).toEqual({ blobs: 0, bytes: 0 });
  expect(await digestsIn(path.join(place.directory, "files"))).toEqual([file.sha256]);
  expect(await store.files.blobs.collectable(10)).toEqual([]);
});

test("removing a workspace frees its files' bytes", async () => {
  await using place = await openPlace({ pinMs: 0 });
  const { files, store } = place;
  const file = await put(files, "gone", "a", "of a workspace");
  await store.workspaces.remove("gone");
  expect(await files.find(file.id)).toBeNull();
  expect(await files.usage("gone")).toEqual({ files: 0, bytes: 0, quotaBytes: null });
  expect(await files.collect()).toEqual({ blobs: 1, bytes: 14 });
});

test("a removal that storage refuses leaves row and bytes for the next time", async () => {
  await using place = await openPlace({ pinMs: 0 });
  const { files, store } = place;
  const file = await put(files, "w", "a", "stubborn");
  await files.remove("w", file.id);
  const { blobs } = store.files;
  await expect(blobs.collect(file.sha256, () => Promise.reject(new Error("refused")))).rejects.toThrow("refused");
  expect(await blobs.find(file.sha256)).not.toBeNull();
  expect(await files.collect()).toEqual({ blobs: 1, bytes: 8 });
});
