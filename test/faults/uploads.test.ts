import { spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, type TestContext, test } from "vitest";
import type { Answer } from "../harness/http.ts";
import { Place } from "../harness/place.ts";
import type { Server } from "../harness/server.ts";
import { contentOf, FileLoad, sha256Of, TusUpload, WAYS } from "./file-load.ts";
import { limitFor, ROUNDS } from "./rounds.ts";
import { downloaded, faultsOf, listed, stagedIn, storageFaults } from "./stored-files.ts";

const MEBIBYTE = 1024 * 1024;
const WORKSPACE = "uploads";

/** Whether a HEAD or PATCH of an upload said that there is no such upload. */
function isGone(answer: Answer): boolean {
  return answer.status === 404 || answer.status === 410;
}

async function removeAll(server: Server): Promise<void> {
  for (const { id } of await listed(server, WORKSPACE)) {
    expect((await server.send("DELETE", `/api/v1/workspaces/${WORKSPACE}/files/${id}`)).status).toBe(204);
  }
}

test(
  "kill -9 of the server during uploads: acknowledged files are whole, others absent or whole, resumable ones go on",
  async () => {
    await using place = new Place();
    let server = await place.start({ prewarmed: "0" });
    let interrupted = 0;
    const unknown = new Set<string>();
    for (let round = 0; round < ROUNDS; round++) {
      const load = new FileLoad(WORKSPACE);
      for (const way of ["raw", "multipart", "tus"] as const) {
        for (const worker of ["a", "b", "c"]) load.start(server.port, way, `${round}${worker}`);
      }
      await expect.poll(() => load.acknowledged.size, { timeout: 20_000 }).toBeGreaterThan(3);
      await delay(randomInt(900));
      place.observe();
      await server.kill();
      await load.end();
      expect(load.refusals).toEqual([]);

      server = await place.start({ prewarmed: "0" });
      interrupted += load.broken;
      const begun = [...load.unfinished].filter(({ path }) => path !== null);
      // What requests without a way to go on had brought is gone.
      expect(stagedIn(place.dataDirectory).length).toBeLessThanOrEqual(load.unfinished.size + unknown.size);
      expect(await faultsOf(server, load)).toEqual([]);
      for (const upload of begun) {
        const answer = await upload.goOn(server.port);
        expect([upload.name, answer.status, answer.text]).toEqual([
          upload.name,
          answer.status < 300 ? answer.status : 204,
          answer.text,
        ]);
        load.note(upload.name, answer);
      }
      // Of uploads only those are left whose creation was not acknowledged: nobody knows of them, and they rest until they expire.
      const left = stagedIn(place.dataDirectory).filter((name) => !unknown.has(name));
      expect(left.length).toBeLessThanOrEqual(load.unfinished.size - begun.length);
      for (const name of left) unknown.add(name);
      expect(await faultsOf(server, load)).toEqual([]);
      const collected = await server.send("POST", "/api/v1/storage/collect");
      expect([collected.status, collected.status === 200 ? "" : collected.text]).toEqual([200, ""]);
      expect(await storageFaults(place.dataDirectory)).toEqual([]);
      expect(await faultsOf(server, load)).toEqual([]);
      await removeAll(server);
    }
    expect(interrupted).toBeGreaterThan(0);
    place.observe();
    expect(await server.stop()).toEqual({ code: 0, signal: null });
    expect(server.defects).toEqual([]);
    expect(await place.leftovers()).toEqual([]);
  },
  limitFor(30_000),
);

/** What is full when an upload needs it: bytes left there once uploads are on their way, and how much of each upload comes after that. */
const STAGES = {
  /** No byte more can be staged. */
  staging: { full: "data", leave: 0, share: 0.5 },
  /** The rest can be staged, but not be kept. */
  storage: { full: "storage", leave: 64 * 1024, share: 0.5 },
  /** The rest can be staged; the database has less room than it needs. */
  database: { full: "data", leave: 8 * MEBIBYTE, share: 0.9 },
} as const;

test.for(Object.keys(STAGES) as (keyof typeof STAGES)[])(
  "a disk that is full when uploads need %s: refused, nothing half, and with room again all goes on",
  { timeout: limitFor(40_000) },
  async (stage, ctx) => {
    if (process.getuid?.() !== 0) return ctx.skip("mounting a small tmpfs needs root");
    await fullDisk(STAGES[stage], ctx);
  },
);

async function fullDisk({ full, leave, share }: (typeof STAGES)[keyof typeof STAGES], ctx: TestContext): Promise<void> {
  await using place = new Place();
  const storage = mkdtempSync(join(tmpdir(), "treadle-storage-"));
  const mounted: string[] = [];
  try {
    for (const [folder, megabytes] of [
      [place.dataDirectory, 400],
      [storage, 100],
    ] as const) {
      mkdirSync(folder, { recursive: true });
      const mount = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m,mode=0700`, "treadle-test", folder], {
        encoding: "utf8",
      });
      if (mount.status !== 0) return ctx.skip(`a tmpfs cannot be mounted here: ${mount.stderr.trim()}`);
      mounted.push(folder);
    }
    const fullFolder = full === "data" ? place.dataDirectory : storage;
    const filler = join(fullFolder, "filler");
    const flags = { prewarmed: "0", "storage-url": `file://${storage}` };
    const server = await place.start(flags);
    for (let round = 0; round < ROUNDS; round++) {
      const load = new FileLoad(WORKSPACE);
      const room = Promise.withResolvers<void>();
      const send = (name: string, size: number) => {
        const bytes = contentOf(`${name} ${round}`, size);
        load.sent.set(name, sha256Of(bytes));
        return { bytes, held: { first: Math.floor(size * share), until: room.promise } };
      };
      const before = send("before", 200_000);
      load.note("before", await WAYS.raw(server.port, WORKSPACE, "before", before.bytes));
      const uploads = Array.from({ length: 6 }, (_, number) => {
        const way = number % 2 === 0 ? "raw" : "multipart";
        const { bytes, held } = send(`${way}-${round}-${number}`, 600_000 + 400_000 * number);
        return {
          name: `${way}-${round}-${number}`,
          answer: outcome(WAYS[way](server.port, WORKSPACE, `${way}-${round}-${number}`, bytes, held)),
        };
      });
      const { bytes, held } = send(`tus-${round}`, 3_000_000);
      const tus = new TusUpload(WORKSPACE, `tus-${round}`, bytes);
      expect((await tus.create(server.port)).status).toBe(201);
      const patched = outcome(tus.goOn(server.port, held));
      await delay(300);
      fillUp(fullFolder, filler, leave);
      room.resolve();
      for (const { name, answer } of uploads) expect([name, await answer]).toEqual([name, expect.stringMatching(REFUSED)]);
      expect(await patched).toMatch(REFUSED);
      // What is there can be read meanwhile.
      for (const [id, sha256] of load.acknowledged) expect(await downloaded(server, WORKSPACE, id)).toBe(sha256);

      rmSync(filler);
      const again = send(`again-${round}`, 500_000);
      await expect
        .poll(async () => (await WAYS.raw(server.port, WORKSPACE, `again-${round}`, again.bytes)).status, { timeout: 20_000 })
        .toBe(201);
      await expect
        .poll(
          async () => {
            const answer = await tus.goOn(server.port);
            if (answer.status < 300) load.note(tus.name, answer);
            return isGone(answer) ? "gone" : answer.status < 300;
          },
          { timeout: 20_000 },
        )
        .toBe(true);
      expect(await faultsOf(server, load)).toEqual([]);
      const names = (await listed(server, WORKSPACE)).map(({ name }) => name);
      expect(names.toSorted()).toEqual(["before", `again-${round}`, `tus-${round}`].toSorted());
      expect(stagedIn(place.dataDirectory)).toEqual([]);
      expect(await storageFaults(place.dataDirectory, storage)).toEqual([]);
      await removeAll(server);
    }
    place.observe();
    expect(await server.stop()).toEqual({ code: 0, signal: null });
    const next = await place.start(flags);
    expect(stagedIn(place.dataDirectory)).toEqual([]);
    place.observe();
    await next.stop();
    expect(await place.leftovers()).toEqual([]);
  } finally {
    await place.endProcesses();
    for (const folder of mounted) spawnSync("umount", ["--lazy", folder]);
    rmSync(storage, { recursive: true, force: true });
  }
}

/** Writes until only so many bytes are left, or none if somebody else is writing meanwhile. */
function fillUp(folder: string, filler: string, leave: number): void {
  const { bavail, bsize } = statfsSync(folder);
  try {
    writeFileSync(filler, Buffer.alloc(Math.max(0, bavail * bsize - leave), 1));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
  }
}

const REFUSED = /^(STORAGE_UNAVAILABLE|connection closed)$/;

/** The code of a refusal, `connection closed`, or the status of an answer that is none. */
async function outcome(answer: Promise<Answer>): Promise<string> {
  try {
    const { status, text } = await answer;
    return status < 400 ? `answered ${status}` : ((JSON.parse(text) as { error: { code: string } }).error.code ?? text);
  } catch (error) {
    return /ECONNRESET|EPIPE|socket hang up/.test(String(error)) ? "connection closed" : String(error);
  }
}
