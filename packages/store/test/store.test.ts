import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { createExecutionId, type Store } from "../src/index.ts";
import { storeOn } from "./places.ts";
import { sampleExecution, sampleFunction } from "./samples.ts";

// Generous: each test starts database servers, and the machine may be busy with other suites.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

describe.each(["embedded", "server"] as const)("on the %s database", (kind) => {
  let place: AsyncDisposable & { readonly store: Store };
  let store: Store;
  let count = 0;
  const fresh = (): string => `workspace-${++count}`;

  beforeAll(async () => {
    place = await storeOn(kind, { retention: { executionsPerWorkspace: 30, executionAgeMs: 3_600_000, versionsPerFunction: 3 } });
    store = place.store;
  });
  afterAll(() => place?.[Symbol.asyncDispose]());

  const names = async (workspace: string) => (await store.workspaces.find(workspace))?.functions.map((item) => item.name);

  describe("workspaces", () => {
    test("what was saved is found whole, with the key order of its JSON", async () => {
      const name = fresh();
      const parameters = JSON.parse(
        '{"z":{"type":"string"},"a":{"type":"array"},"__proto__":{"type":"integer"},"\\u0000\\ud800":1}',
      );
      const content = Buffer.from([0, 255, 10, 92, 0]);
      const saved = await store.workspaces.save(name, {
        mode: "merge",
        functions: [
          sampleFunction("größe", "return 1", {
            parameters,
            settings: { b: 1, a: 2 },
            contract: "handler",
            entrypoint: "src/main.js",
            files: [
              { path: "src/main.js", content },
              { path: "a.js", content: new Uint8Array() },
            ],
          }),
        ],
      });
      const found = await store.workspaces.find(name);
      expect(found).toEqual(saved);
      const [item] = found?.functions ?? [];
      expect(JSON.stringify(item?.parameters)).toBe(JSON.stringify(parameters));
      expect(JSON.stringify(item?.settings)).toBe('{"b":1,"a":2}');
      expect(item).toMatchObject({ name: "größe", contract: "handler", entrypoint: "src/main.js", version: 1, language: "node" });
      expect(item?.sourceDigest).toMatch(/^[0-9a-f]{64}$/);
      expect(item?.files.map((file) => [file.path, Buffer.from(file.content).equals(content)])).toEqual([
        ["a.js", false],
        ["src/main.js", true],
      ]);
      expect(found?.revision).toBe(1);
      expect(Math.abs((found?.createdAt ?? 0) - Date.now())).toBeLessThan(60_000);
    });

    test("merge keeps functions it does not name, replace drops them, remove takes some away", async () => {
      const name = fresh();
      await store.workspaces.save(name, { mode: "merge", functions: [sampleFunction("a", "1"), sampleFunction("b", "2")] });
      await store.workspaces.save(name, { mode: "merge", functions: [sampleFunction("c", "3")], remove: ["a"] });
      expect(await names(name)).toEqual(["b", "c"]);
      await store.workspaces.save(name, { mode: "replace", functions: [sampleFunction("c", "3"), sampleFunction("d", "4")] });
      expect(await names(name)).toEqual(["c", "d"]);
      await store.workspaces.save(name, { mode: "replace", functions: [] });
      expect(await names(name)).toEqual([]);
    });

    test("a change that is refused changes nothing", async () => {
      const name = fresh();
      await store.workspaces.save(name, { mode: "merge", functions: [sampleFunction("a", "1")] });
      const before = await store.workspaces.find(name);
      const refused = [
        [{ mode: "merge", functions: [sampleFunction("b", "2")], remove: ["missing"] }, "UNKNOWN_FUNCTION"],
        [{ mode: "merge", functions: [sampleFunction("b", "2"), sampleFunction("b", "3")] }, "BAD_REQUEST"],
        [{ mode: "merge", functions: [sampleFunction("nul\0", "2")] }, "BAD_REQUEST"],
        [{ mode: "merge", functions: [sampleFunction("half\ud800", "2")] }, "BAD_REQUEST"],
        [{ mode: "merge", functions: [sampleFunction("x", "2", { language: "nul\0" })] }, "BAD_REQUEST"],
        ...["../x", "/x", "a//b", "", "a\0b", "./a"].map(
          (path) =>
            [
              { mode: "merge", functions: [sampleFunction("x", "2", { files: [{ path, content: Buffer.from("") }] })] },
              "BAD_REQUEST",
            ] as const,
        ),
      ] as const;
      for (const [change, code] of refused) {
        await expect(store.workspaces.save(name, change), JSON.stringify(change)).rejects.toMatchObject({ code });
      }
      expect(await store.workspaces.find(name)).toEqual(before);
      await expect(store.workspaces.save("x\0", { mode: "merge", functions: [] })).rejects.toMatchObject({ code: "BAD_REQUEST" });
    });

    test("every save counts one revision, and an expected one that is stale is refused", async () => {
      const name = fresh();
      const change = { mode: "merge", functions: [sampleFunction("a", "1")] } as const;
      await expect(store.workspaces.save(name, change, { expectedRevision: 1 })).rejects.toMatchObject({ code: "CONFLICT" });
      expect(await store.workspaces.find(name)).toBeNull();
      expect((await store.workspaces.save(name, change, { expectedRevision: 0 })).revision).toBe(1);
      expect((await store.workspaces.save(name, change, { expectedRevision: 1 })).revision).toBe(2);
      await expect(store.workspaces.save(name, change, { expectedRevision: 1 })).rejects.toMatchObject({
        code: "CONFLICT",
        details: { revision: 2, expectedRevision: 1 },
      });
      await expect(store.workspaces.save(name, change, { expectedRevision: 0 })).rejects.toMatchObject({ code: "CONFLICT" });
      expect((await store.workspaces.find(name))?.revision).toBe(2);
    });

    test("saves of one workspace at the same time all count, also with sources in common", async () => {
      const name = fresh();
      const shared = [sampleFunction("s1", "same"), sampleFunction("s2", "other")];
      const saves = Array.from({ length: 20 }, (_, index) =>
        store.workspaces.save(index % 2 ? name : `${name}-twin`, {
          mode: "merge",
          functions: [sampleFunction(`f${index}`, `return ${index}`), ...(index % 4 < 2 ? shared : shared.toReversed())],
        }),
      );
      await Promise.all(saves);
      const found = await store.workspaces.find(name);
      expect(found?.revision).toBe(10);
      expect(found?.functions).toHaveLength(12);
    });

    test("of saves that expect the same revision one wins", async () => {
      const name = fresh();
      await store.workspaces.save(name, { mode: "merge", functions: [] });
      const results = await Promise.allSettled(
        Array.from({ length: 8 }, (_, index) =>
          store.workspaces.save(name, { mode: "merge", functions: [sampleFunction(`f${index}`, "1")] }, { expectedRevision: 1 }),
        ),
      );
      expect(results.filter((result) => result.status === "fulfilled")).toHaveLength(1);
      expect((await store.workspaces.find(name))?.functions).toHaveLength(1);
    });

    test("workspaces are listed by name, in pages, and removed with what is theirs", async () => {
      const prefix = `list-${fresh()}-`;
      for (const suffix of ["b", "B", "ä", "a"]) {
        await store.workspaces.save(prefix + suffix, { mode: "merge", functions: [sampleFunction("f", suffix)] });
      }
      const first = await store.workspaces.list({ after: prefix, limit: 2 });
      expect(first.map((workspace) => [workspace.name, workspace.functions])).toEqual([
        [`${prefix}B`, 1],
        [`${prefix}a`, 1],
      ]);
      const second = await store.workspaces.list({ after: first[1]?.name ?? "", limit: 2 });
      expect(second.map((workspace) => workspace.name)).toEqual([`${prefix}b`, `${prefix}ä`]);
      const total = await store.workspaces.count();
      expect(await store.workspaces.names()).toHaveLength(total);
      await store.dependencies.put(dependencyState(`${prefix}a`));
      const execution = sampleExecution(`${prefix}a`);
      store.executions.record(execution);
      expect(await store.workspaces.remove(`${prefix}a`)).toBe(true);
      expect(await store.workspaces.remove(`${prefix}a`)).toBe(false);
      expect(await store.workspaces.find(`${prefix}a`)).toBeNull();
      expect(await store.executions.get(execution.id)).toBeNull();
      expect(await store.dependencies.get(`${prefix}a`, "node")).toBeNull();
      expect(await store.workspaces.count()).toBe(total - 1);
    });
  });

  describe("deployments", () => {
    test("a new version comes with new code, parameters or language, and with nothing else", async () => {
      const name = fresh();
      const save = async (changes: object, code = "1") =>
        (await store.workspaces.save(name, { mode: "merge", functions: [sampleFunction("f", code, changes)] })).functions[0]
          ?.version;
      expect(await save({})).toBe(1);
      expect(await save({})).toBe(1);
      expect(await save({ settings: { timeoutMs: 9 } })).toBe(1);
      expect(await save({}, "2")).toBe(2);
      expect(await save({ parameters: {} }, "2")).toBe(3);
      expect(await save({ parameters: {}, contract: "handler" }, "2")).toBe(4);
      expect((await store.deployments.list(name, "f")).map((item) => [item.version, item.active])).toEqual([
        [4, true],
        [3, false],
        [2, false],
      ]);
    });

    test("an earlier version is activated with its code and parameters, and the next new one goes on counting", async () => {
      const name = fresh();
      await store.workspaces.save(name, { mode: "merge", functions: [sampleFunction("f", "first", { parameters: { a: 1 } })] });
      await store.workspaces.save(name, { mode: "merge", functions: [sampleFunction("f", "second", { parameters: { b: 2 } })] });
      const back = await store.deployments.activate(name, "f", 1);
      expect(back?.revision).toBe(3);
      expect(back?.functions[0]).toMatchObject({ version: 1, parameters: { a: 1 } });
      expect(Buffer.from(back?.functions[0]?.files[0]?.content ?? []).toString()).toBe("first");
      const same = await store.workspaces.save(name, {
        mode: "merge",
        functions: [sampleFunction("f", "first", { parameters: { a: 1 } })],
      });
      expect(same.functions[0]?.version).toBe(1);
      const next = await store.workspaces.save(name, { mode: "merge", functions: [sampleFunction("f", "third")] });
      expect(next.functions[0]?.version).toBe(3);
      await expect(store.deployments.activate(name, "f", 9)).rejects.toMatchObject({ code: "UNKNOWN_DEPLOYMENT" });
      await expect(store.deployments.activate(name, "g", 1)).rejects.toMatchObject({ code: "UNKNOWN_FUNCTION" });
      await expect(store.deployments.activate(`${name}-none`, "f", 1)).rejects.toMatchObject({ code: "UNKNOWN_WORKSPACE" });
      expect((await store.workspaces.find(name))?.revision).toBe(5);
    });

    test("sources that no deployment has any more are collected, shared ones stay", async () => {
      const name = fresh();
      const first = await store.workspaces.save(name, {
        mode: "merge",
        functions: [sampleFunction("f", "collected"), sampleFunction("g", "kept")],
      });
      await store.workspaces.save(`${name}-other`, { mode: "merge", functions: [sampleFunction("g", "kept")] });
      const [collected, kept] = first.functions.map((item) => item.sourceDigest);
      expect(await store.workspaces.sources(collected ?? "")).toHaveLength(1);
      await store.workspaces.remove(name);
      await store.prune();
      expect(await store.workspaces.sources(collected ?? "")).toBeNull();
      expect(await store.workspaces.sources(kept ?? "")).toHaveLength(1);
    });
  });

  describe("executions", () => {
    test("what was recorded is found at once, every field as it was", async () => {
      const execution = sampleExecution(fresh(), {
        state: "failed",
        error: '{"code":"THREW"}',
        errorCode: "THREW",
        logs: '[{"level":"info","time":1,"message":"line\\none"}]',
      });
      expect(store.executions.record(execution)).toBe(true);
      expect(await store.executions.get(execution.id)).toEqual(execution);
      expect(await store.executions.get(createExecutionId())).toBeNull();
      expect(await store.executions.get("no-id'")).toBeNull();
    });

    test("any text survives: NUL and half surrogates as JSON escapes, all else as it is, and its neighbours unharmed", async () => {
      const workspace = fresh();
      const texts = [
        "\\N",
        "\\.",
        "\n\\.\n",
        "a\tb\r\nc\\",
        "\\\\u0000",
        "\u0001\u001f\u2028 ",
        "😀 \ufeff\uffff",
        "",
        "'; DROP TABLE",
        "\\x41\\b",
      ];
      const strange: [string, string][] = [
        ["a\0b", "a\\u0000b"],
        ["\ud83d", "\\ud83d"],
        ["x\udc00\ud800y😀\ud83d", "x\\udc00\\ud800y😀\\ud83d"],
      ];
      const pairs = [...texts.map((text) => [text, text] as const), ...strange];
      const executions = pairs.map(([text]) =>
        sampleExecution(workspace, { input: text, output: text, logs: text, error: text }),
      );
      for (const execution of executions) store.executions.record(execution);
      const { executions: found } = await store.executions.list({ workspace });
      expect(found.map((item) => [item.input, item.output, item.logs, item.error]).toReversed()).toEqual(
        pairs.map(([, stored]) => [stored, stored, stored, stored]),
      );
    });

    test("a malformed record is refused alone", async () => {
      const workspace = fresh();
      const before = store.executions.stats();
      const good = Array.from({ length: 20 }, () => sampleExecution(workspace));
      for (const [index, execution] of good.entries()) {
        store.executions.record(execution);
        if (index === 3) store.executions.record(sampleExecution(workspace, { id: "not-a-uuid" }));
        if (index === 7) store.executions.record(sampleExecution(workspace, { version: Number.NaN }));
        if (index === 9) expect(store.executions.record(sampleExecution(workspace, { startedAt: Number.NaN }))).toBe(false);
        if (index === 11) store.executions.record(execution);
      }
      const { executions } = await store.executions.list({ workspace });
      expect(executions.map((item) => item.id).toReversed()).toEqual(good.map((item) => item.id));
      expect(store.executions.stats().rejected - before.rejected).toBe(3);
    });

    test("lists are filtered and paged, newest first", async () => {
      const workspace = fresh();
      const made = Array.from({ length: 10 }, (_, index) =>
        sampleExecution(workspace, {
          function: index % 2 ? "odd" : "even",
          state: index % 5 === 0 ? "timed_out" : "succeeded",
          output: `"Result ${index} 100%"`,
          logs: index === 3 ? '[{"message":"Needle_x"}]' : null,
        }),
      );
      for (const execution of made) store.executions.record(execution);
      const indexes = async (query: object) =>
        (await store.executions.list({ workspace, ...query })).executions.map((item) =>
          made.findIndex((one) => one.id === item.id),
        );
      expect(await indexes({})).toEqual([9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
      expect(await indexes({ function: "odd" })).toEqual([9, 7, 5, 3, 1]);
      expect(await indexes({ state: "timed_out" })).toEqual([5, 0]);
      expect(await indexes({ text: "needle_X" })).toEqual([3]);
      expect(await indexes({ text: "needleXx" })).toEqual([]);
      expect(await indexes({ text: "7 100%" })).toEqual([7]);
      expect(await indexes({ since: Date.now() + 60_000 })).toEqual([]);
      expect(await indexes({ since: Date.now() - 60_000, until: Date.now() + 60_000, function: "even", limit: 2 })).toEqual([
        8, 6,
      ]);
      expect(await indexes({ until: Date.now() - 60_000 })).toEqual([]);
      const page = await store.executions.list({ workspace, limit: 4 });
      expect(page.next).not.toBeNull();
      expect(await indexes({ limit: 6, after: page.next ?? "" })).toEqual([5, 4, 3, 2, 1, 0]);
      expect((await store.executions.list({ workspace, limit: 6, after: page.next ?? "" })).next).toBeNull();
      await expect(store.executions.list({ after: "x" })).rejects.toMatchObject({ code: "BAD_REQUEST" });
      await expect(store.executions.list({ limit: 0 })).rejects.toMatchObject({ code: "BAD_REQUEST" });
    });

    test("are written in the background without anybody asking", async () => {
      const before = store.executions.stats().written;
      store.executions.record(sampleExecution(fresh()));
      await expect.poll(() => store.executions.stats().written, { timeout: 5_000 }).toBe(before + 1);
    });

    test("retention keeps the newest of each workspace, none that are too old, and none of workspaces that are gone", async () => {
      const [busy, old, gone] = [fresh(), fresh(), fresh()];
      for (const workspace of [busy, old]) await store.workspaces.save(workspace, { mode: "merge", functions: [] });
      const made = Array.from({ length: 50 }, () => sampleExecution(busy));
      for (const execution of made) store.executions.record(execution);
      const twoHoursAgo = (Date.now() - 7_200_000).toString(16).padStart(12, "0");
      const ancient = `${twoHoursAgo.slice(0, 8)}-${twoHoursAgo.slice(8)}-7000-8000-000000000001`;
      const young = sampleExecution(old);
      for (const execution of [sampleExecution(old, { id: ancient }), young, sampleExecution(gone)])
        store.executions.record(execution);
      await store.executions.flush();
      expect((await store.prune()).executions).toBeGreaterThanOrEqual(22);
      const kept = await store.executions.list({ workspace: busy, limit: 100 });
      expect(kept.executions.map((item) => item.id).toReversed()).toEqual(made.slice(20).map((item) => item.id));
      expect((await store.executions.list({ workspace: old })).executions.map((item) => item.id)).toEqual([young.id]);
      expect((await store.executions.list({ workspace: gone })).executions).toEqual([]);
    });
  });

  describe("dependencies", () => {
    test("are kept by workspace and language, the last state counting", async () => {
      const workspace = fresh();
      await expect(store.dependencies.put(dependencyState(workspace))).rejects.toMatchObject({ code: "UNKNOWN_WORKSPACE" });
      await store.workspaces.save(workspace, { mode: "merge", functions: [] });
      await store.dependencies.put(dependencyState(workspace));
      await store.dependencies.put({
        ...dependencyState(workspace),
        language: "python",
        status: "ready",
        lock: "a==1\n",
        lockDigest: "d",
      });
      const failed = {
        ...dependencyState(workspace),
        status: "failed",
        error: { code: "INSTALL_FAILED" },
        log: `${"x".repeat(300_000)}\0end`,
      } as const;
      await store.dependencies.put(failed);
      const found = await store.dependencies.get(workspace, "node");
      expect(found).toMatchObject({ ...failed, log: expect.stringMatching(/^x+\ufffdend$/) });
      expect(found?.log.length).toBe(256 * 1024);
      const all = await store.dependencies.list({ workspace });
      expect(all.map((item) => [item.language, item.status])).toEqual([
        ["node", "failed"],
        ["python", "ready"],
      ]);
      expect(await store.dependencies.list({ workspace, status: "ready" })).toHaveLength(1);
      expect(await store.dependencies.get(workspace, "ruby")).toBeNull();
    });
  });

  test("the engine says what it is", async () => {
    expect(store.engine.kind).toBe(kind);
    expect(Number.parseInt(store.engine.version, 10)).toBeGreaterThanOrEqual(15);
    expect(store.engine.migrated).toContain("0001");
    await store.check();
  });
});

function dependencyState(workspace: string) {
  return {
    workspace,
    language: "node",
    manifest: { "package.json": '{"dependencies":{}}' },
    lock: null,
    lockDigest: null,
    inferred: ["lodash"],
    status: "resolving",
    error: null,
    log: "",
  } as const;
}
