import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createExecutionId, openStore, type Store } from "@treadle/store";
import { sql } from "kysely";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { createBundles } from "../src/bundles/create-bundles.ts";

vi.setConfig({ hookTimeout: 120_000 });

let directory: string;
let store: Store;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "treadle-bundles-"));
  store = await openStore({ dataDirectory: directory, log: () => {} });
});
afterAll(async () => {
  await store?.close();
  await rm(directory, { recursive: true, force: true });
});

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

/** Files' rows, which is all that bundles look at; returns their ids. */
async function addFiles(workspace: string, texts: readonly string[], { open = false, size = 1 } = {}): Promise<string[]> {
  await sql`INSERT INTO workspaces (name) VALUES (${workspace}) ON CONFLICT DO NOTHING`.execute(store.database);
  const ids = texts.map(createExecutionId);
  for (const [index, text] of texts.entries()) {
    const digest = Buffer.from(sha256(text), "hex");
    await sql`INSERT INTO blobs (sha256, size, pinned_until) VALUES (${digest}, ${size}, now()) ON CONFLICT DO NOTHING`.execute(
      store.database,
    );
    await sql`INSERT INTO files (id, workspace_id, name, mime_type, sha256, size, public)
      SELECT ${ids[index]}::uuid, id, ${text}, 'text/plain', ${digest}, ${size}, ${open} FROM workspaces WHERE name = ${workspace}`.execute(
      store.database,
    );
  }
  return ids;
}

const bundles = () => createBundles({ store });
const code = (expected: string) => expect.objectContaining({ code: expected });

test("a bundle's checksum is that of its contents' sorted checksums, its size their sum", async () => {
  const [a, b] = (await addFiles("sums", ["a", "b"], { size: 21 })) as [string, string];
  const sum = (...digests: string[]) => sha256(digests.sort().join(""));
  const inner = await bundles().create("sums", {
    name: "inner",
    contents: [
      { name: "one", fileId: b },
      { name: "two", fileId: a },
    ],
  });
  expect(inner).toMatchObject({ checksum: sum(sha256("a"), sha256("b")), size: 42, depth: 1, entries: 2, public: false });

  const outer = await bundles().create("sums", {
    name: "outer",
    description: "both",
    contents: [
      { name: "again", bundleId: inner.id },
      { name: "a", fileId: a },
    ],
  });
  expect(outer).toMatchObject({ checksum: sum(inner.checksum, sha256("a")), size: 63, depth: 2, entries: 4 });
  expect(outer.contents).toEqual([
    { name: "again", bundleId: inner.id },
    { name: "a", fileId: a },
  ]);
  expect(await bundles().get("sums", outer.id)).toEqual(outer);
  expect(await bundles().find(outer.id.toUpperCase())).toEqual(outer);
  expect(await bundles().below(outer.id)).toEqual([inner]);
  expect(await bundles().findByChecksum(inner.checksum)).toEqual([inner]);
});

test("names are portable and unique, entries name one thing, and there are some but not too many", async () => {
  const [id] = (await addFiles("forms", ["x"])) as [string];
  const make = (contents: Parameters<ReturnType<typeof bundles>["create"]>[1]["contents"], name = "b") =>
    bundles().create("forms", { name, contents });
  for (const name of ["", ".", "..", "a/b", "a b", "é", "a\0", "\ud800", "x".repeat(256)])
    await expect(make([{ name, fileId: id }]), JSON.stringify(name)).rejects.toEqual(code("BAD_REQUEST"));
  for (const name of ["", "..", "a/b", "a\0", "a\nb", "\ud800", "x".repeat(256)])
    await expect(make([{ name: "x", fileId: id }], name), JSON.stringify(name)).rejects.toEqual(code("BAD_REQUEST"));
  await expect(make([])).rejects.toEqual(code("BAD_REQUEST"));
  await expect(make([{ name: "x" }])).rejects.toEqual(code("BAD_REQUEST"));
  await expect(make([{ name: "x", fileId: id, bundleId: id }])).rejects.toEqual(code("BAD_REQUEST"));
  await expect(
    make([
      { name: "x", fileId: id },
      { name: "x", fileId: id },
    ]),
  ).rejects.toEqual(code("BAD_REQUEST"));
  const many = (count: number) => Array.from({ length: count }, (_, index) => ({ name: `n${index}`, fileId: id }));
  await expect(make(many(10_001))).rejects.toEqual(code("BAD_REQUEST"));
  const whole = await make(many(10_000));
  expect(whole.contents.map((entry) => entry.name)).toEqual(many(10_000).map((entry) => entry.name));
  await expect(bundles().create("forms", { name: "b", description: "\0", contents: many(1) })).rejects.toEqual(
    code("BAD_REQUEST"),
  );
});

test("a bundle holds things of its own workspace only", async () => {
  const [mine] = (await addFiles("mine", ["m"])) as [string];
  const [theirs] = (await addFiles("theirs", ["t"])) as [string];
  const foreign = await bundles().create("theirs", { name: "b", contents: [{ name: "t", fileId: theirs }] });
  const make = (entry: { fileId?: string; bundleId?: string }, workspace = "mine") =>
    bundles().create(workspace, { name: "b", contents: [{ name: "x", ...entry }] });
  for (const fileId of [theirs, foreign.id, createExecutionId(), "", "../x", "\0", "' OR 1=1"])
    await expect(make({ fileId }), fileId).rejects.toEqual(code("UNKNOWN_FILE"));
  for (const bundleId of [foreign.id, mine, "x"])
    await expect(make({ bundleId }), bundleId).rejects.toEqual(code("UNKNOWN_BUNDLE"));
  await expect(make({ fileId: mine }, "nowhere")).rejects.toEqual(code("UNKNOWN_FILE"));
  await expect(bundles().get("mine", foreign.id)).rejects.toEqual(code("UNKNOWN_BUNDLE"));
  await expect(bundles().remove("mine", foreign.id)).rejects.toEqual(code("UNKNOWN_BUNDLE"));
  await expect(bundles().remove("mine", "x")).rejects.toEqual(code("UNKNOWN_BUNDLE"));
  expect(await bundles().find(theirs)).toBeNull();
  expect(await bundles().find("\0")).toBeNull();
});

test("a public bundle shows nothing that is not public", async () => {
  const [hidden] = (await addFiles("open", ["hidden"])) as [string];
  const [seen] = (await addFiles("open", ["seen"], { open: true })) as [string];
  const make = (contents: { name: string; fileId?: string; bundleId?: string }[], open: boolean) =>
    bundles().create("open", { name: "b", public: open, contents });
  await expect(make([{ name: "x", fileId: hidden }], true)).rejects.toEqual(code("BAD_REQUEST"));
  const closed = await make([{ name: "x", fileId: seen }], false);
  await expect(make([{ name: "x", bundleId: closed.id }], true)).rejects.toEqual(code("BAD_REQUEST"));
  const open = await make([{ name: "x", fileId: seen }], true);
  expect(await make([{ name: "x", bundleId: open.id }], true)).toMatchObject({ public: true });
});

test("depth and what it adds up to are bounded", async () => {
  const [id] = (await addFiles("deep", ["d"], { size: 1_000 })) as [string];
  const twice = (of: { fileId?: string; bundleId?: string }) =>
    bundles().create("deep", {
      name: "b",
      contents: [
        { name: "l", ...of },
        { name: "r", ...of },
      ],
    });
  let top = await twice({ fileId: id });
  for (let depth = 2; depth <= 32; depth++) top = await twice({ bundleId: top.id });
  expect(top).toMatchObject({ depth: 32, size: 2 ** 32 * 1_000, entries: 2 ** 33 - 2 });
  await expect(twice({ bundleId: top.id })).rejects.toEqual(code("BAD_REQUEST"));
  // Reached by 2^31 ways, but each is listed once.
  expect(await bundles().below(top.id)).toHaveLength(31);

  const wide = (of: { fileId?: string; bundleId?: string }) =>
    bundles().create("deep", { name: "b", contents: Array.from({ length: 10_000 }, (_, n) => ({ name: `${n}`, ...of })) });
  let huge = await wide({ fileId: id });
  for (let times = 0; times < 2; times++) huge = await wide({ bundleId: huge.id });
  expect(huge.size).toBe(1e15);
  await expect(wide({ bundleId: huge.id })).rejects.toEqual(code("BAD_REQUEST"));
});

test("what a bundle holds cannot be removed before it; a workspace takes all with it", async () => {
  const [id] = (await addFiles("held", ["h"])) as [string];
  const inner = await bundles().create("held", { name: "inner", contents: [{ name: "h", fileId: id }] });
  const outer = await bundles().create("held", { name: "outer", contents: [{ name: "i", bundleId: inner.id }] });
  await expect(bundles().remove("held", inner.id)).rejects.toEqual(code("CONFLICT"));
  await expect(store.files.remove("held", id)).rejects.toEqual(code("CONFLICT"));
  await bundles().remove("held", outer.id);
  await bundles().remove("held", inner.id);
  await expect(bundles().remove("held", inner.id)).rejects.toEqual(code("UNKNOWN_BUNDLE"));

  const again = await bundles().create("held", { name: "inner", contents: [{ name: "h", fileId: id }] });
  await bundles().create("held", { name: "outer", contents: [{ name: "i", bundleId: again.id }] });
  expect(await store.workspaces.remove("held")).toBe(true);
  expect(await bundles().find(again.id)).toBeNull();
});

test("a file that is removed while a bundle of it is made leaves no bundle with a hole", async () => {
  for (let round = 0; round < 20; round++) {
    const [id] = (await addFiles("race", [`r${round}`])) as [string];
    await sql`INSERT INTO file_usage (workspace_id, files, bytes)
      SELECT id, 1, 1 FROM workspaces WHERE name = 'race' ON CONFLICT (workspace_id) DO UPDATE SET files = 1, bytes = 1`.execute(
      store.database,
    );
    const [made, removed] = await Promise.allSettled([
      bundles().create("race", { name: "b", contents: [{ name: "x", fileId: id }] }),
      store.files.remove("race", id),
    ]);
    if (made.status === "fulfilled") expect(removed).toMatchObject({ status: "rejected", reason: { code: "CONFLICT" } });
    else expect([made.reason.code, removed.status]).toEqual(["UNKNOWN_FILE", "fulfilled"]);
  }
});

test("lists are in pages, oldest first", async () => {
  const [id] = (await addFiles("pages", ["p"])) as [string];
  const made: string[] = [];
  for (const name of ["a", "b", "c"]) made.push((await bundles().create("pages", { name, contents: [{ name, fileId: id }] })).id);
  const first = await bundles().list("pages", { limit: 2 });
  expect(first).toMatchObject({ bundles: [{ id: made[0], name: "a", entries: 1 }, { id: made[1] }], next: made[1] });
  expect(first.bundles[0]).not.toHaveProperty("contents");
  expect(await bundles().list("pages", { limit: 2, after: first.next as string })).toMatchObject({
    bundles: [{ id: made[2] }],
    next: null,
  });
  expect(await bundles().list("nowhere")).toEqual({ bundles: [], next: null });
  await expect(bundles().list("pages", { after: "x" })).rejects.toEqual(code("BAD_REQUEST"));
  await expect(bundles().list("pages", { limit: 0 })).rejects.toEqual(code("BAD_REQUEST"));
});
