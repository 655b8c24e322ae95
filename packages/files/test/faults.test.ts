import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, readdir } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openStore } from "@treadle/store";
import { sql } from "kysely";
import { expect, type TestContext, test } from "vitest";
import { assembleFiles } from "../src/assemble-files.ts";
import { contentOf } from "./named-content.ts";
import { bytesOf, openPlace, optionsFor, put, QUIET, temporaryDirectory } from "./place.ts";

/** How often each fault is provoked: 20 times by `npm run test:faults`. */
const ROUNDS = Number(process.env.TREADLE_FAULT_ROUNDS ?? 1);
const MEGABYTE = 1024 * 1024;
const STEPS = ["receiving", "staged", "pinned", "put", "inserted", "any moment"] as const;

async function namesUnder(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)));
}

/** Runs the program until it kills itself at `step`, or is killed at any moment; gives what it acknowledged, by id. */
async function putUntilKilled(directory: string, prefix: string, step: string): Promise<Map<string, string>> {
  const program = fileURLToPath(new URL("programs/put-forever.ts", import.meta.url));
  const child: ChildProcess = spawn(
    process.execPath,
    [program, directory, prefix, step, String(1 + Math.floor(12 * Math.random()))],
    {
      stdio: ["ignore", "pipe", "inherit"],
      env: { PATH: process.env.PATH },
    },
  );
  const ended = once(child, "exit");
  const acknowledged = new Map<string, string>();
  const first = Promise.withResolvers<void>();
  const lines = createInterface(child.stdout as Readable);
  lines.on("line", (line) => {
    const [id = "", name = ""] = line.split(" ");
    acknowledged.set(id, name);
    first.resolve();
  });
  if (step === "any moment") {
    await Promise.race([first.promise, ended]);
    await delay(500 * Math.random());
    child.kill("SIGKILL");
  }
  expect(await ended).toEqual([null, "SIGKILL"]);
  return acknowledged;
}

test.each(STEPS)(
  `kill -9 of a process that puts files, at: %s (${ROUNDS} rounds)`,
  async (step) => {
    await using directory = await temporaryDirectory();
    const acknowledged = new Map<string, string>();
    for (let round = 0; round < ROUNDS; round++) {
      for (const [id, name] of await putUntilKilled(directory.path, `r${round}`, step)) acknowledged.set(id, name);
      await using store = await openStore({ dataDirectory: directory.path, log: () => {} });
      await using files = await assembleFiles(optionsFor(store, directory.path), QUIET);
      expect(await readdir(path.join(directory.path, "staging"))).toEqual(["holder"]);
      const listed = (await files.list("w", { limit: 1000 })).files;
      const ids = new Set(listed.map((file) => file.id));
      expect([...acknowledged.keys()].filter((id) => !ids.has(id))).toEqual([]);
      for (const file of listed) expect((await bytesOf(files, file)).equals(contentOf(file.name))).toBe(true);
      expect((await files.usage("w")).files).toBe(listed.length);
      // Once the pins of what was under way have passed, storage has what files have and nothing else.
      await sql`UPDATE blobs SET pinned_until = now() - interval '1 s'`.execute(store.database);
      await files.collect();
      const digests = new Set(listed.map(({ sha256 }) => path.join(sha256.slice(0, 2), sha256.slice(2))));
      expect((await namesUnder(path.join(directory.path, "files"))).toSorted()).toEqual([...digests].toSorted());
      expect((await files.scrub()).damaged).toEqual([]);
      for (const file of listed.slice(5)) {
        await files.remove("w", file.id);
        acknowledged.delete(file.id);
      }
    }
  },
  60_000 + ROUNDS * 20_000,
);

/** A small disk at a folder of a data directory, or a skip with the reason. */
async function mountSmall(context: TestContext, folder: string, megabytes: number): Promise<AsyncDisposable> {
  if (process.getuid?.() !== 0) return context.skip("only root can mount a small disk");
  await mkdir(folder, { recursive: true });
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m,mode=0700`, "treadle-files-test", folder], { stdio: "pipe" });
  } catch (error) {
    return context.skip(`mount is not permitted here: ${error}`);
  }
  return { [Symbol.asyncDispose]: async () => void execFileSync("umount", ["--lazy", folder], { stdio: "pipe" }) };
}

function random(megabytes: number): Readable {
  return Readable.from(Array.from({ length: megabytes }, () => randomBytes(MEGABYTE)));
}

test(`a disk that is full while bytes come in refuses them and goes on (${ROUNDS} rounds)`, async (context) => {
  await using place = await openPlace();
  await using _disk = await mountSmall(context, path.join(place.directory, "staging"), 48);
  const files = await place.reopen();
  const staging = path.join(place.directory, "staging");
  for (let round = 0; round < ROUNDS; round++) {
    await expect(files.put("w", { name: "large" }, random(60))).rejects.toMatchObject({
      code: "STORAGE_UNAVAILABLE",
      message: expect.stringContaining("the disk is full (ENOSPC)"),
    });
    // One whose length is known is refused before a byte of it is taken.
    await expect(files.put("w", { name: "large", size: 40 * MEGABYTE }, random(40))).rejects.toMatchObject({
      code: "STORAGE_UNAVAILABLE",
      message: expect.stringContaining("has no room"),
    });
    expect(await readdir(staging)).toEqual(["holder"]);
    const content = randomBytes(MEGABYTE);
    expect((await bytesOf(files, await put(files, "w", "small", content))).equals(content)).toBe(true);
  }
  expect((await files.list("w")).files.map((file) => file.name)).toEqual(Array(ROUNDS).fill("small"));
});

test(`a storage that is full refuses files, keeps the others, and takes files again when there is room (${ROUNDS} rounds)`, async (context) => {
  await using place = await openPlace();
  const storage = path.join(place.directory, "files");
  await using _disk = await mountSmall(context, storage, 16);
  // Another device than the staging folder's, so that bytes are copied to it.
  const files = await place.reopen({ pinMs: 0 });
  for (let round = 0; round < ROUNDS; round++) {
    const content = randomBytes(10 * MEGABYTE);
    const first = await put(files, "w", "first", content);
    await expect(files.put("w", { name: "second" }, random(10))).rejects.toMatchObject({
      code: "STORAGE_UNAVAILABLE",
      message: expect.stringContaining("the disk is full (ENOSPC)"),
    });
    expect(await namesUnder(storage)).toEqual([path.join(first.sha256.slice(0, 2), first.sha256.slice(2))]);
    expect(await readdir(path.join(place.directory, "staging"))).toEqual(["holder"]);
    expect((await bytesOf(files, first)).equals(content)).toBe(true);
    expect((await files.usage("w")).files).toBe(1);
    await files.remove("w", first.id);
    expect((await files.collect()).bytes).toBeGreaterThanOrEqual(10 * MEGABYTE);
    const again = await files.put("w", { name: "second" }, random(10));
    await files.remove("w", again.id);
    await files.collect();
    expect(await namesUnder(storage)).toEqual([]);
  }
});
