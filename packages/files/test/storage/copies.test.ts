import { createHash, randomBytes } from "node:crypto";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Copies, createCopies } from "../../src/storage/copies/create-copies.ts";

let folder = "";
let directory = "";
let target = 0;
const warnings: string[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "treadle-copies-"));
  directory = join(folder, "copies");
  warnings.length = 0;
});

afterEach(() => rm(folder, { recursive: true, force: true }));

const create = (maxBytes = 1e9) => createCopies({ directory, maxBytes, warn: (message) => warnings.push(message) });
const path = () => join(folder, `placed-${target++}`);
const kept = async () => (await readdir(directory)).toSorted();

/** A remote file, which counts how often it was opened. */
function remote(size: number) {
  const bytes = randomBytes(size);
  const file = {
    bytes,
    digest: createHash("sha256").update(bytes).digest("hex"),
    opened: 0,
    given: bytes as Buffer,
    open: async () => {
      file.opened++;
      return Readable.from([file.given.subarray(0, 3), file.given.subarray(3)].filter((chunk) => chunk.length > 0));
    },
    async place(copies: Copies): Promise<string> {
      const to = path();
      await copies.place(file.digest, size, file.open, to);
      return to;
    },
  };
  return file;
}

test.each([0, 1, 100_000])("places %d bytes, brought once", async (size) => {
  await using copies = await create();
  const file = remote(size);
  const first = await file.place(copies);
  const second = await file.place(copies);
  expect(file.bytes.equals(await readFile(first))).toBe(true);
  const [one, two] = [await stat(first), await stat(second)];
  expect(one.ino).toBe(two.ino);
  expect(one.mode & 0o777).toBe(0o444);
  expect(file.opened).toBe(1);
});

test("brings a file once for many who ask at a time", async () => {
  await using copies = await create();
  const file = remote(50_000);
  const placed = await Promise.all(Array.from({ length: 50 }, () => file.place(copies)));
  expect(file.opened).toBe(1);
  expect((await stat(placed[0] as string)).nlink).toBe(51);
});

test("takes nothing but the promised bytes, and brings them again afterwards", async () => {
  await using copies = await create();
  const file = remote(1000);
  for (const given of [randomBytes(1000), file.bytes.subarray(0, 999), Buffer.concat([file.bytes, Buffer.from("x")])]) {
    file.given = given;
    await expect(file.place(copies)).rejects.toMatchObject({ code: "FILE_DAMAGED" });
    expect(await kept()).toEqual([]);
  }
  file.given = file.bytes;
  expect(file.bytes.equals(await readFile(await file.place(copies)))).toBe(true);
});

test("tells all who wait when a download breaks, and leaves nothing", async () => {
  await using copies = await create();
  const file = remote(1000);
  const open = async () =>
    Readable.from(
      (async function* () {
        yield file.bytes.subarray(0, 500);
        throw new Error("the line is dead");
      })(),
    );
  const outcomes = await Promise.allSettled([1, 2, 3].map(() => copies.place(file.digest, 1000, open, path())));
  for (const outcome of outcomes) expect(outcome).toMatchObject({ status: "rejected", reason: { message: "the line is dead" } });
  expect(await kept()).toEqual([]);
});

test("drops what was used longest ago; links elsewhere live on", async () => {
  await using copies = await create(2500);
  const [one, two, three] = [remote(1000), remote(1000), remote(1000)];
  const first = await one.place(copies);
  const second = await two.place(copies);
  await one.place(copies);
  await three.place(copies);
  expect(await kept()).toEqual([one.digest, three.digest].toSorted());
  expect(two.bytes.equals(await readFile(second))).toBe(true);
  expect(one.bytes.equals(await readFile(first))).toBe(true);
  await two.place(copies);
  expect(two.opened).toBe(2);
});

test("places a file that is larger than all the room", async () => {
  await using copies = await create(10);
  const file = remote(1000);
  const placed = await Promise.all([file.place(copies), file.place(copies)]);
  for (const each of placed) expect(file.bytes.equals(await readFile(each))).toBe(true);
  expect(await kept()).toEqual([]);
});

test("goes on after a restart: order kept, litter and cut copies gone", async () => {
  const [one, two] = [remote(1000), remote(1000)];
  {
    await using copies = await create();
    await one.place(copies);
    await two.place(copies);
    await utimes(join(directory, one.digest), new Date(1000), new Date(1000));
  }
  await writeFile(join(directory, "incoming-dead"), "half");
  await mkdir(join(directory, "lost+found"));
  await using copies = await create(2000);
  expect(await kept()).toEqual([one.digest, two.digest, "lost+found"].toSorted());
  await remote(500).place(copies);
  expect((await kept()).includes(one.digest)).toBe(false);
  await chmod(join(directory, two.digest), 0o600);
  await truncate(join(directory, two.digest), 400);
  expect(two.bytes.equals(await readFile(await two.place(copies)))).toBe(true);
  expect(two.opened).toBe(2);
  expect(warnings).toEqual([expect.stringContaining("wrong size")]);
});

test("disposing ends downloads", async () => {
  const copies = await create();
  const file = remote(10);
  const stuck = copies.place(file.digest, 10, async () => new Readable({ read() {} }), path());
  const ended = expect(stuck).rejects.toMatchObject({ code: "SERVER_BUSY" });
  await new Promise((resolve) => setTimeout(resolve, 50));
  await copies[Symbol.asyncDispose]();
  await ended;
  expect(await kept()).toEqual([]);
});

test("a path that is taken, and words that are no digests, are refused", async () => {
  await using copies = await create();
  const file = remote(10);
  const taken = await file.place(copies);
  await expect(copies.place(file.digest, 10, file.open, taken)).rejects.toMatchObject({ code: "EEXIST" });
  await expect(copies.place("../escape", 10, file.open, path())).rejects.toMatchObject({ code: "INTERNAL" });
});
