import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openStore } from "@treadle/store";
import { expect, test } from "vitest";
import { openFilesOn, staged } from "./imports.files.ts";
import { serve, sha256 } from "./imports.servers.ts";

const ROUNDS = Number(process.env.TREADLE_FAULT_ROUNDS ?? 6);
const PROGRAM = fileURLToPath(new URL("programs/import-until-killed.ts", import.meta.url));

async function spawned(...args: string[]): Promise<{ child: ChildProcess; line: string }> {
  const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(child.stdout as NodeJS.ReadableStream, "data")) as [Buffer];
  return { child, line: line.toString().trim() };
}

test(
  `kill -9 at any moment of imports: each is finished after the next start, exactly once (${ROUNDS} rounds)`,
  async () => {
    const bytes = randomBytes(600_000);
    // Takes its time, so that kills fall into the middle.
    await using server = await serve((_request, response) => {
      response.writeHead(200, { "content-length": bytes.length });
      let at = 0;
      const timer = setInterval(() => {
        response.write(bytes.subarray(at, at + 60_000));
        at += 60_000;
        if (at >= bytes.length) response.end();
        if (at >= bytes.length) clearInterval(timer);
      }, 15);
      response.once("close", () => clearInterval(timer));
    });
    const directory = await mkdtemp(join(tmpdir(), "treadle-imports-"));
    const promised: { id: string; fileId: string }[] = [];
    try {
      for (let round = 0; round < ROUNDS; round++) {
        const { child, line } = await spawned(directory, server.authority, `w${round}`);
        promised.push(JSON.parse(line));
        await delay((round * 397) % 400);
        child.kill("SIGKILL");
        await once(child, "exit");
      }
      await using store = await openStore({ dataDirectory: directory, log: () => {} });
      await using files = await openFilesOn(store, directory, { trusted: [server.authority] });
      for (const [round, { id, fileId }] of promised.entries()) {
        const state = async () => (await files.imports.get(`w${round}`, id)).state;
        await expect.poll(state, { timeout: 20_000, interval: 50 }).toBe("succeeded");
        const { files: kept } = await files.list(`w${round}`);
        expect(kept).toEqual([expect.objectContaining({ id: fileId, sha256: sha256(bytes), size: bytes.length })]);
        expect(await files.usage(`w${round}`)).toMatchObject({ files: 1, bytes: bytes.length });
      }
      expect(await staged(directory)).toEqual([]);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  },
  60_000 + ROUNDS * 10_000,
);

test("another process takes over what a lease has passed of; the first one's end is refused", async () => {
  const directory = await mkdtemp(join(tmpdir(), "treadle-imports-"));
  try {
    await using store = await openStore({ dataDirectory: directory, log: () => {} });
    const { imports } = store;
    const add = {
      workspace: "w",
      url: "https://example.org/",
      name: null,
      mimeType: null,
      expectedSha256: null,
      expectedSize: null,
    };
    const id = "018f0000-0000-7000-8000-000000000001";
    await imports.add({ ...add, id, fileId: "018f0000-0000-7000-8000-000000000002" });
    expect(await imports.take("one", 1_500)).toMatchObject({ id, state: "running", attempts: 1 });
    expect(await imports.take("two", 60_000)).toBeNull();
    await delay(1_600);
    expect(await imports.take("two", 60_000)).toMatchObject({ id, attempts: 2 });
    expect(await imports.renew(id, "one", { received: 5, size: null }, 60_000)).toBe(false);
    await imports.fail(id, "one", { code: "INTERNAL", message: "late" });
    expect(await store.database.transaction().execute((transaction) => imports.succeed(transaction, id, "one", 5))).toBe(false);
    expect(await imports.find("w", id)).toMatchObject({ state: "running", received: 0 });
    expect(await imports.cancel("w", id)).toMatchObject({ state: "cancelled" });
    expect(await store.database.transaction().execute((transaction) => imports.succeed(transaction, id, "two", 5))).toBe(false);
    expect(await imports.find("w", id)).toMatchObject({ state: "cancelled" });

    // Begun too often.
    const often = "018f0000-0000-7000-8000-000000000003";
    await imports.add({ ...add, id: often, fileId: "018f0000-0000-7000-8000-000000000004" });
    for (let attempt = 0; attempt < 5; attempt++) {
      await imports.take("gone", 1);
      await delay(10);
    }
    await using files = await openFilesOn(store, directory);
    await expect
      .poll(() => files.imports.get("w", often), { timeout: 10_000 })
      .toMatchObject({
        state: "failed",
        error: { code: "IMPORT_FAILED", message: expect.stringContaining("begun 5 times") },
      });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
