import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { createExecutionId, type KeepFileOptions, type NewFileRecord, type Store } from "../src/index.ts";
import { storeOn } from "./places.ts";

// Generous: each test starts database servers, and the machine may be busy with other suites.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const PIN_MS = 600_000;
const digestOf = (text: string): string => createHash("sha256").update(text).digest("hex");

describe.each(["embedded", "server"] as const)("files on the %s database", (kind) => {
  let place: AsyncDisposable & { readonly store: Store };
  let store: Store;
  let count = 0;
  const fresh = (): string => `workspace-${++count}`;

  beforeAll(async () => {
    place = await storeOn(kind);
    store = place.store;
  });
  afterAll(() => place?.[Symbol.asyncDispose]());

  async function keep(workspace: string, text: string, options: Partial<KeepFileOptions & NewFileRecord> = {}) {
    const sha256 = digestOf(text);
    const blob = options.blob ?? (await store.files.blobs.pin({ sha256, size: text.length }, PIN_MS));
    const file = { name: text, mimeType: "text/plain", description: null, public: false, sha256, size: text.length };
    return store.files.keep(
      { id: options.id ?? createExecutionId(), workspace, ...file },
      { blob, written: false, defaultQuota: null, ...options },
    );
  }

  test("a file is kept under a pinned blob, counted, and its workspace made; a workspace that is there keeps its revision", async () => {
    const workspace = fresh();
    const file = await keep(workspace, "one");
    expect(file).toMatchObject({ workspace, name: "one", sha256: digestOf("one"), size: 3, origin: null, damaged: false });
    expect(await store.files.find(file?.id ?? "")).toEqual(file);
    expect(await store.files.usage(workspace)).toEqual({ files: 1, bytes: 3, uploading: 0, quotaBytes: null });
    await store.workspaces.save(workspace, { mode: "merge", functions: [] });
    const before = (await store.workspaces.find(workspace))?.revision;
    await keep(workspace, "two");
    expect((await store.workspaces.find(workspace))?.revision).toBe(before);
  });

  test("one workspace made by many at once is one", async () => {
    const workspace = fresh();
    await Promise.all(Array.from({ length: 8 }, (_, index) => keep(workspace, `at once ${index}`)));
    expect((await store.files.usage(workspace)).files).toBe(8);
  });

  test("a put waits for a deletion whose connection has broken: what it finds then is what is there", async () => {
    const sha256 = digestOf("going");
    const { blobs } = store.files;
    await blobs.pin({ sha256, size: 5 }, 0);
    const deletion = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const collection = blobs.collect(sha256, () => {
      begun.resolve();
      return deletion.promise;
    });
    collection.catch(() => {});
    await begun.promise;
    // The lock of the collection goes with its connection, while storage is still at it.
    await sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND state = 'idle in transaction' AND pid <> pg_backend_pid()`.execute(store.database);
    let pinned = false;
    const pin = blobs.pin({ sha256, size: 5 }, PIN_MS).then((blob) => {
      pinned = true;
      return blob;
    });
    await delay(300);
    expect(pinned).toBe(false);
    deletion.resolve();
    await expect(collection).rejects.toMatchObject({ code: "STORAGE_UNAVAILABLE" });
    expect(await pin).toMatchObject({ sha256 });
    expect(await blobs.collect(sha256, async () => {})).toBe(false);
  });

  test("a blob that was collected, and one made anew since, are not the one that was looked at", async () => {
    const sha256 = digestOf("fleeting");
    const { blobs } = store.files;
    const old = await blobs.pin({ sha256, size: 8 }, 0);
    expect((await blobs.pin({ sha256, size: 8 }, 0)).generation).toBe(old.generation);
    expect(await blobs.collect(sha256, async () => {})).toBe(true);
    expect(await keep(fresh(), "fleeting", { blob: old })).toBeNull();
    const made = await blobs.pin({ sha256, size: 8 }, PIN_MS);
    expect(made.generation).not.toBe(old.generation);
    for (const written of [true, false]) expect(await keep(fresh(), "fleeting", { blob: old, written })).toBeNull();
    expect(await keep(fresh(), "fleeting", { blob: made })).not.toBeNull();
  });

  test("who pins a digest that is being collected waits, and gets a row of its own", async () => {
    const sha256 = digestOf("contended");
    const { blobs } = store.files;
    const old = await blobs.pin({ sha256, size: 9 }, 0);
    const order: string[] = [];
    const deleting = Promise.withResolvers<void>();
    const began = Promise.withResolvers<void>();
    const collecting = blobs.collect(sha256, async () => {
      began.resolve();
      await deleting.promise;
      order.push("deleted");
    });
    await began.promise;
    const pinning = blobs.pin({ sha256, size: 9 }, PIN_MS).then((blob) => {
      order.push("pinned");
      return blob;
    });
    // A second collector does not wait for the first one.
    expect(await blobs.collect(sha256, async () => expect.unreachable())).toBe(false);
    deleting.resolve();
    expect(await collecting).toBe(true);
    expect((await pinning).generation).not.toBe(old.generation);
    expect(order).toEqual(["deleted", "pinned"]);
  });

  test("a pin is never shortened, and nothing pinned or in use is collected", async () => {
    const { blobs } = store.files;
    const sha256 = digestOf("pinned");
    await blobs.pin({ sha256, size: 6 }, PIN_MS);
    await blobs.pin({ sha256, size: 6 }, 0);
    expect(await blobs.collect(sha256, async () => expect.unreachable())).toBe(false);
    const used = await blobs.pin({ sha256: digestOf("used"), size: 4 }, 0);
    await keep(fresh(), "used", { blob: used });
    expect((await blobs.collectable(1000)).map((blob) => blob.sha256)).not.toContain(used.sha256);
    expect(await blobs.collect(used.sha256, async () => expect.unreachable())).toBe(false);
  });

  test("what is committed with a file is undone when the quota is passed", async () => {
    const workspace = fresh();
    await keep(workspace, "first");
    await store.files.setQuota(workspace, 7);
    const other = fresh();
    const also: KeepFileOptions["also"] = async (transaction) => {
      await transaction.insertInto("workspaces").values({ name: other }).execute();
    };
    await expect(keep(workspace, "sixth!", { also })).rejects.toMatchObject({
      code: "QUOTA_EXCEEDED",
      details: { bytes: 11, quotaBytes: 7 },
    });
    expect(await store.workspaces.find(other)).toBeNull();
    expect(await store.files.usage(workspace)).toMatchObject({ files: 1, bytes: 5, quotaBytes: 7 });
    expect(await keep(workspace, "ok", { also })).not.toBeNull();
    expect(await store.workspaces.find(other)).not.toBeNull();
  });

  test("concurrent keeps and removals leave the right sums", async () => {
    const workspace = fresh();
    const work = async (index: number): Promise<number> => {
      let bytes = 0;
      for (let step = 0; step < 20; step++) {
        const text = "x".repeat(1 + ((index * 7 + step) % 10));
        const file = await keep(workspace, text);
        if (step % 3 === 0) expect(await store.files.remove(workspace, file?.id ?? "")).toBe(true);
        else bytes += text.length;
      }
      return bytes;
    };
    const sums = await Promise.all([0, 1, 2, 3].map(work));
    expect(await store.files.usage(workspace)).toMatchObject({ files: 4 * 13, bytes: sums.reduce((a, b) => a + b, 0) });
  });

  test("bytes written mend a blob; damage is noted only for what a file has", async () => {
    const { blobs } = store.files;
    const sha256 = digestOf("fragile");
    await blobs.pin({ sha256, size: 7 }, PIN_MS);
    expect(await blobs.markDamaged(sha256)).toBe(false);
    const file = await keep(fresh(), "fragile");
    expect(await blobs.markDamaged(sha256)).toBe(true);
    expect((await store.files.find(file?.id ?? ""))?.damaged).toBe(true);
    expect((await blobs.unverified(1000, 0)).map((blob) => blob.sha256)).toContain(sha256);
    await keep(fresh(), "fragile");
    expect((await blobs.find(sha256))?.damaged).toBe(true);
    await keep(fresh(), "fragile", { written: true });
    expect((await blobs.find(sha256))?.damaged).toBe(false);
  });

  test("a blob that was read from elsewhere is storage's own once its bytes were written", async () => {
    const sha256 = digestOf("remote");
    const origin = "https://example.org/remote";
    const blob = await store.files.blobs.pin({ sha256, size: 6, origin }, PIN_MS);
    expect((await keep(fresh(), "remote", { blob }))?.origin).toBe(origin);
    expect((await keep(fresh(), "remote", { blob, written: true }))?.origin).toBeNull();
  });

  test("removing a workspace removes its files and their count", async () => {
    const workspace = fresh();
    const file = await keep(workspace, "short-lived");
    const before = await store.files.totals();
    await store.workspaces.remove(workspace);
    expect(await store.files.find(file?.id ?? "")).toBeNull();
    expect(await store.files.totals()).toEqual({ files: before.files - 1, bytes: before.bytes - 11 });
    expect(await store.files.usage(workspace)).toEqual({ files: 0, bytes: 0, uploading: 0, quotaBytes: null });
  });
});
