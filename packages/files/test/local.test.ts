import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmod, mkdir, readdir, readFile, stat, symlink, utimes, writeFile } from "node:fs/promises";
import path from "node:path";
import { buffer } from "node:stream/consumers";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import type { StagedBytes, StorageDriver } from "../src/index.ts";
import { openLocalDriver } from "../src/storage/local/local-driver.ts";
import { openStorage } from "../src/storage/open-storage.ts";
import { openPlace, put, sha256Of, temporaryDirectory } from "./place.ts";

const code = (expected: string) => expect.objectContaining({ code: expected });

interface Local extends AsyncDisposable {
  readonly directory: string;
  readonly root: string;
  readonly driver: StorageDriver;
  stage(content: Buffer | string): Promise<StagedBytes>;
}

async function openLocal(): Promise<Local> {
  const directory = await temporaryDirectory();
  const root = path.join(directory.path, "deep", "files");
  const driver = await openLocalDriver({ directory: root });
  let count = 0;
  return {
    directory: directory.path,
    root,
    driver,
    async stage(content) {
      const file = path.join(directory.path, `staged-${++count}`);
      await writeFile(file, content);
      return { path: file, size: content.length, sha256: sha256Of(content) };
    },
    [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
  };
}

async function listOf(driver: StorageDriver): Promise<{ sha256: string; size: number }[]> {
  const found: { sha256: string; size: number }[] = [];
  for await (const item of driver.list()) found.push(item);
  return found.toSorted((a, b) => (a.sha256 < b.sha256 ? -1 : 1));
}

test("bytes are kept under their digest, read-only, and come back whole and in parts", async () => {
  await using local = await openLocal();
  const { driver, root } = local;
  const content = randomBytes(700_000);
  const staged = await local.stage(content);
  expect(await driver.size(staged.sha256)).toBeNull();
  await driver.put(staged);
  const file = path.join(root, staged.sha256.slice(0, 2), staged.sha256.slice(2));
  expect(driver.localPath?.(staged.sha256)).toBe(file);
  expect((await stat(file)).mode & 0o777).toBe(0o444);
  expect(await driver.size(staged.sha256)).toBe(700_000);
  expect((await buffer(await driver.read(staged.sha256))).equals(content)).toBe(true);
  const part = await buffer(await driver.read(staged.sha256, { start: 300_000, end: 699_999 }));
  expect(part.equals(content.subarray(300_000))).toBe(true);
  // The staged file is its owner's to remove, and removing it takes nothing from storage.
  expect((await readFile(staged.path)).equals(content)).toBe(true);
  expect(await listOf(driver)).toEqual([{ sha256: staged.sha256, size: 700_000 }]);
  await driver.delete(staged.sha256);
  await driver.delete(staged.sha256);
  expect(await listOf(driver)).toEqual([]);
  await expect(driver.read(staged.sha256)).rejects.toThrow(code("FILE_DAMAGED"));
});

test("putting once more replaces what is there, by itself or damaged, and leaves no other names", async () => {
  await using local = await openLocal();
  const { driver } = local;
  const staged = await local.stage("whole");
  await driver.put(staged);
  await driver.put(staged);
  const file = driver.localPath?.(staged.sha256) ?? "";
  await driver.delete(staged.sha256);
  await writeFile(file, "other");
  await driver.put(await local.stage("whole"));
  expect(await readFile(file, "utf8")).toBe("whole");
  expect(await readdir(path.dirname(file))).toEqual([path.basename(file)]);
});

test("only digests become paths", async () => {
  await using local = await openLocal();
  const { driver, directory } = local;
  await writeFile(path.join(directory, "secret"), "secret");
  const escapes = [
    "../../secret",
    `${"a".repeat(61)}/..`,
    "",
    "A".repeat(64),
    `${"a".repeat(64)}\n`,
    `..${"a".repeat(62)}`,
    "\0".repeat(64),
  ];
  for (const digest of escapes) {
    await expect(driver.read(digest)).rejects.toThrow(code("INTERNAL"));
    await expect(driver.size(digest)).rejects.toThrow(code("INTERNAL"));
    await expect(driver.delete(digest)).rejects.toThrow(code("INTERNAL"));
    await expect(driver.put({ path: path.join(directory, "secret"), size: 6, sha256: digest })).rejects.toThrow(code("INTERNAL"));
  }
});

test("symbolic links in storage are not followed", async () => {
  await using local = await openLocal();
  const { driver, directory, root } = local;
  const outside = path.join(directory, "outside");
  await mkdir(outside);
  const [viaFile, viaFolder] = ["ab".repeat(32), "cd".repeat(32)];
  await writeFile(path.join(directory, "secret"), "secret");
  await writeFile(path.join(outside, viaFolder.slice(2)), "secret");
  await mkdir(path.join(root, "ab"));
  await symlink(path.join(directory, "secret"), path.join(root, "ab", viaFile.slice(2)));
  await symlink(outside, path.join(root, "cd"));
  expect(await driver.size(viaFile)).toBeNull();
  await expect(driver.read(viaFile)).rejects.toThrow(code("FILE_DAMAGED"));
  for (const call of [() => driver.size(viaFolder), () => driver.read(viaFolder), () => driver.delete(viaFolder)]) {
    await expect(call()).rejects.toThrow(code("STORAGE_UNAVAILABLE"));
  }
  const staged = { ...(await local.stage("x")), sha256: viaFolder };
  await expect(driver.put(staged)).rejects.toThrow(code("STORAGE_UNAVAILABLE"));
  expect(await listOf(driver)).toEqual([]);
  expect(await readFile(path.join(outside, viaFolder.slice(2)), "utf8")).toBe("secret");
});

test("a sweep removes unfinished writes that are old enough, and nothing else", async () => {
  await using local = await openLocal();
  const { driver } = local;
  const staged = await local.stage("kept");
  await driver.put(staged);
  const folder = path.dirname(driver.localPath?.(staged.sha256) ?? "");
  await writeFile(path.join(folder, ".unfinished-1"), "part");
  // Its content's times say nothing of when it was begun.
  await utimes(path.join(folder, ".unfinished-1"), 0, 0);
  await driver.sweep(60_000);
  expect(await readdir(folder)).toHaveLength(2);
  expect(await listOf(driver)).toHaveLength(1);
  await driver.sweep(0);
  expect(await readdir(folder)).toEqual([staged.sha256.slice(2)]);
});

test("storage on another device gets a copy that is whole, and so does place", async (context) => {
  if (process.getuid?.() !== 0) return context.skip("only root can mount another device");
  await using directory = await temporaryDirectory();
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64m", "treadle-files-test", directory.path], { stdio: "pipe" });
  } catch (error) {
    return context.skip(`mount is not permitted here: ${error}`);
  }
  await using stack = new AsyncDisposableStack();
  stack.defer(() => void execFileSync("umount", ["--lazy", directory.path], { stdio: "pipe" }));
  const storage = path.join(directory.path, "storage");
  const place = stack.use(await openPlace({}, { storageUrl: pathToFileURL(storage).href }));
  const content = randomBytes(5_000_000);
  const file = await put(place.files, "w", "f", content);
  const kept = path.join(storage, file.sha256.slice(0, 2), file.sha256.slice(2));
  expect((await readFile(kept)).equals(content)).toBe(true);
  expect((await stat(kept)).mode & 0o777).toBe(0o444);
  expect(await readdir(path.dirname(kept))).toHaveLength(1);
  const target = path.join(place.directory, "placed");
  await place.files.place(file, target);
  expect((await readFile(target)).equals(content)).toBe(true);
  expect((await stat(target)).mode & 0o777).toBe(0o444);
});

test("place is a second name of the same bytes, which outlives the file", async () => {
  await using place = await openPlace({ pinMs: 0 });
  const file = await put(place.files, "w", "f", "placed");
  const target = path.join(place.directory, "placed");
  await place.files.place(file, target);
  expect(await stat(target)).toMatchObject({ nlink: 2, mode: 0o100444 });
  await expect(place.files.place(file, target)).rejects.toThrow("EEXIST");
  await place.files.remove("w", file.id);
  expect((await place.files.collect()).blobs).toBe(1);
  expect(await readFile(target, "utf8")).toBe("placed");
});

test("a folder that cannot be written to is STORAGE_UNAVAILABLE", async (context) => {
  await using directory = await temporaryDirectory();
  const file = path.join(directory.path, "readonly");
  await mkdir(file);
  if (process.getuid?.() === 0) {
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "ro", "treadle-files-test", file], { stdio: "pipe" });
    } catch (error) {
      return context.skip(`mount is not permitted here: ${error}`);
    }
  } else await chmod(file, 0o555);
  try {
    await expect(openLocalDriver({ directory: path.join(file, "files") })).rejects.toThrow(code("STORAGE_UNAVAILABLE"));
  } finally {
    if (process.getuid?.() === 0) execFileSync("umount", [file], { stdio: "pipe" });
  }
});

test.each(["ftp://host/x", "nonsense", "", "file://host/x", "file:///", "file:///a%2Fb", "file:///x?y=1", "http://host/"])(
  "the storage address %j is an invalid setting",
  async (storageUrl) => {
    const options = { storageUrl, dataDirectory: "/nonexistent", environment: {}, warn: () => {} };
    await expect(openStorage(options)).rejects.toThrow(code("INVALID_SETTING"));
  },
);
