import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openStore, type Store } from "../src/index.ts";
import { sampleFunction } from "./samples.ts";

let store: Store;
let folder: string;
let count = 0;
const fresh = () => `w${++count}`;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "treadle-store-deployments-"));
  store = await openStore({ dataDirectory: folder, retention: { versionsPerFunction: 3 }, log: () => {} });
}, 60_000);
afterAll(async () => {
  await store?.close();
  await rm(folder, { recursive: true, force: true });
});

/** A build as its row is, in this state. */
async function build(state: "queued" | "ready" | "failed"): Promise<string> {
  const id = randomUUID();
  const sha256 = randomBytes(32);
  await store.database
    .insertInto("blobs")
    .values({ sha256, size: 1, pinned_until: new Date(Date.now() + 60_000), verified_at: null, damaged_at: null, origin: null })
    .execute();
  await store.database
    .insertInto("builds")
    .values({
      id,
      key: randomBytes(32),
      source_sha256: sha256,
      source_digest: randomBytes(32),
      source_bytes: 1,
      source_files: 1,
      language: "go",
      runtime: "go-1",
      entrypoint: null,
      command: null,
      state,
      lock_digest: null,
      log_sha256: null,
      artifact_bytes: null,
      duration_ms: null,
      holder: null,
    })
    .execute();
  return id;
}

async function deploy(workspace: string, name: string, state: "queued" | "ready" | "failed" = "ready", wait = false) {
  return store.deployments.create(workspace, name, {
    buildId: await build(state),
    language: "go",
    contract: "handler",
    entrypoint: null,
    settings: { memoryBytes: 1 },
    origin: { kind: "upload" },
    activateWhenReady: wait,
  });
}

test("a deployment makes workspace and function, which has no active version until one is activated", async () => {
  const name = fresh();
  const made = await deploy(name, "f");
  expect(made).toMatchObject({ version: 1, active: false, aliases: [], sourceDigest: null, origin: { kind: "upload" } });
  expect(await store.workspaces.find(name)).toMatchObject({ functions: [], undeployed: ["f"] });
  const after = await store.deployments.activate(name, "f", 1);
  expect(after).toMatchObject({
    undeployed: [],
    functions: [{ name: "f", version: 1, buildId: made.buildId, files: [], deploymentSettings: { memoryBytes: 1 } }],
  });
  expect(after?.functions[0]?.sourceDigest).toMatch(/^[0-9a-f]{64}$/);
});

test("saved files and builds are numbered together, and each can be activated again", async () => {
  const name = fresh();
  await store.workspaces.save(name, { mode: "merge", functions: [sampleFunction("f", "first", { contract: "handler" })] });
  const built = await deploy(name, "f");
  expect(built.version).toBe(2);
  await store.deployments.activate(name, "f", 2);
  const settings = { timeoutMs: 7 };
  const kept = await store.workspaces.save(name, {
    mode: "merge",
    functions: [
      sampleFunction("f", "", {
        language: "go",
        contract: "handler",
        parameters: null,
        files: [],
        buildId: built.buildId,
        settings,
      }),
    ],
  });
  expect(kept.functions[0]).toMatchObject({ version: 2, buildId: built.buildId, settings });
  const saved = await store.workspaces.save(name, {
    mode: "merge",
    functions: [sampleFunction("f", "second", { contract: "handler" })],
  });
  expect(saved.functions[0]).toMatchObject({ version: 3, buildId: null });
  expect((await store.deployments.activate(name, "f", 1))?.functions[0]).toMatchObject({ version: 1, buildId: null });
  expect(await store.deployments.definition(name, "f", 2)).toMatchObject({ version: 2, buildId: built.buildId });
  await expect(store.deployments.definition(name, "f", 9)).rejects.toMatchObject({ code: "UNKNOWN_DEPLOYMENT" });
  await expect(
    store.workspaces.save(name, {
      mode: "merge",
      functions: [sampleFunction("f", "", { language: "go", contract: "handler", files: [], buildId: built.buildId })],
    }),
  ).rejects.toMatchObject({ code: "CONFLICT" });
});

test("one that waited is not activated when a newer one is active", async () => {
  const name = fresh();
  await deploy(name, "f", "ready", true);
  const second = await deploy(name, "f", "queued", true);
  expect(await store.deployments.waiting(second.buildId ?? "")).toHaveLength(1);
  expect((await store.deployments.waiting()).filter(({ workspace }) => workspace === name).map((each) => each.version)).toEqual([
    1,
  ]);
  expect(await store.deployments.activate(name, "f", 2, { unlessNewer: true })).not.toBeNull();
  expect(await store.deployments.activate(name, "f", 1, { unlessNewer: true })).toBeNull();
  await store.deployments.giveUpActivation(name, "f", 1, { code: "LOAD_FAILED", message: "no" });
  expect(await store.deployments.list(name, "f")).toMatchObject([
    { version: 2, active: true, activateWhenReady: false, activationError: null },
    { version: 1, active: false, activateWhenReady: false, activationError: { code: "LOAD_FAILED" } },
  ]);
});

test("the active version, those with an alias and those that wait are kept, whatever comes after them", async () => {
  const name = fresh();
  for (let version = 1; version <= 3; version++) await deploy(name, "f", "queued", version === 3);
  await store.deployments.activate(name, "f", 1);
  await store.deployments.setAlias(name, "f", "stable", 2);
  for (let version = 4; version <= 9; version++) await deploy(name, "f");
  expect((await store.deployments.list(name, "f")).map(({ version }) => version)).toEqual([9, 8, 7, 3, 2, 1]);
  expect((await store.workspaces.find(name))?.aliases.get("f")).toEqual(new Map([["stable", 2]]));
  await expect(store.deployments.remove(name, "f", 1)).rejects.toMatchObject({ code: "CONFLICT" });
  await expect(store.deployments.remove(name, "f", 2)).rejects.toMatchObject({ code: "CONFLICT" });
  await store.deployments.setAlias(name, "f", "stable", 9);
  await store.deployments.remove(name, "f", 2);
  await expect(store.deployments.remove(name, "f", 2)).rejects.toMatchObject({ code: "UNKNOWN_DEPLOYMENT" });
  expect(await store.deployments.removeAlias(name, "f", "stable")).toBe(true);
  expect(await store.deployments.removeAlias(name, "f", "stable")).toBe(false);
  await expect(store.deployments.setAlias(name, "f", "stable", 2)).rejects.toMatchObject({ code: "UNKNOWN_DEPLOYMENT" });
});

test("a function goes with its deployments, aliases and variables, a workspace with its functions", async () => {
  const name = fresh();
  await deploy(name, "f");
  await deploy(name, "g");
  await store.deployments.setAlias(name, "f", "stable", 1);
  await store.variables.put(name, "f", "A", { value: "1", sealed: null });
  await store.variables.put(name, null, "B", { value: "2", sealed: null });
  const after = await store.workspaces.save(name, { mode: "merge", functions: [], remove: ["f"] });
  expect(after).toMatchObject({ functions: [], undeployed: ["g"] });
  expect((await store.variables.list(name)).map((each) => each.name)).toEqual(["B"]);
  await expect(store.deployments.list(name, "f")).rejects.toMatchObject({ code: "UNKNOWN_FUNCTION" });
  expect(await store.workspaces.remove(name)).toBe(true);
  await expect(store.deployments.list(name, "g")).rejects.toMatchObject({ code: "UNKNOWN_WORKSPACE" });
});

test("variables and sealed secrets are kept apart by workspace, function and kind", async () => {
  const name = fresh();
  await expect(store.variables.put(name, null, "A", { value: "1", sealed: null })).rejects.toMatchObject({
    code: "UNKNOWN_WORKSPACE",
  });
  await deploy(name, "f");
  await expect(store.variables.put(name, "g", "A", { value: "1", sealed: null })).rejects.toMatchObject({
    code: "UNKNOWN_FUNCTION",
  });
  await store.variables.put(name, null, "A", { value: "1", sealed: null });
  await store.variables.put(name, null, "A", { value: "2", sealed: null });
  await store.variables.put(name, "f", "A", { value: null, sealed: Buffer.from([1, 2, 3]) });
  await expect(store.variables.put(name, "f", "A", { value: "x", sealed: null })).rejects.toMatchObject({ code: "CONFLICT" });
  expect(await store.variables.list(name)).toMatchObject([
    { function: null, name: "A", value: "2", sealed: null },
    { function: "f", name: "A", value: null, sealed: Buffer.from([1, 2, 3]) },
  ]);
  expect(await store.variables.remove(name, "f", "A", "variable")).toBe(false);
  expect(await store.variables.remove(name, "f", "A", "secret")).toBe(true);
  expect(await store.variables.remove(name, "f", "A", "secret")).toBe(false);
});
