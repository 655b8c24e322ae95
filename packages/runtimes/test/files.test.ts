import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, describe, expect, test } from "vitest";
import type { ChannelClient, LoadOptions } from "./channel-client.ts";
import { FileHost } from "./file-host.ts";
import { startNode } from "./node-server.ts";
import { startPython } from "./python-server.ts";

const folder = mkdtempSync(join(tmpdir(), "treadle-files-"));
afterAll(() => rmSync(folder, { recursive: true }));
const big = randomBytes(3 * 1024 * 1024 + 17);
writeFileSync(join(folder, "big.bin"), big);
writeFileSync(join(folder, "small.txt"), "small");
symlinkSync("small.txt", join(folder, "link.txt"));
spawnSync("mkfifo", [join(folder, "fifo")]);

const sha256 = (bytes: Buffer | string) => createHash("sha256").update(bytes).digest("hex");

interface Language {
  start(options: LoadOptions): Promise<ChannelClient>;
  /** Bodies by what they do. `path`, `name` are parameters. */
  readonly bodies: Record<
    "save" | "saveText" | "saveMany" | "saveStream" | "catchError" | "open" | "late" | "unawaited" | "quick",
    string
  >;
}

const LANGUAGES: Record<string, Language> = {
  node: {
    start: startNode,
    bodies: {
      save: "return saveFile(path, { name, type: 'text/x', description: 'about' })",
      saveText: "return saveFile({ name: 'é.txt', content: 'größe' })",
      saveMany:
        "return Promise.all(Array.from({ length: 20 }, (_, i) => saveFile({ name: String(i), content: Buffer.alloc(200000, i) })))",
      saveStream:
        "async function* parts() { for (let i = 0; i < 50; i++) yield i % 2 ? 'ab'.repeat(5000) : Buffer.alloc(9999, 1) } return saveFile({ name, content: parts() })",
      catchError:
        "try { await saveFile(path, { name }) } catch (error) { return { code: error.code, message: error.message, name: error.name } }",
      open: "const file = await openFile(path); return { path: file.path, name: file.name }",
      late: "setTimeout(() => saveFile({ name: 'late', content: 'x' }).catch((error) => console.log(error.message)), 50); return 1",
      unawaited: "saveFile(path).catch((error) => console.log(error.code)); return 1",
      quick: "return 'quick'",
    },
  },
  python: {
    start: async (options) => {
      const client = startPython();
      const report = await client.load(options);
      expect(report.errors).toEqual({});
      return client;
    },
    bodies: {
      save: "return save_file(path, name=name, type='text/x', description='about')",
      saveText: "return await save_file(name='é.txt', content='größe')",
      saveMany:
        "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(20) as pool:\n    return list(pool.map(lambda i: save_file(name=str(i), content=bytes([i]) * 200000), range(20)))",
      saveStream:
        "def parts():\n    for i in range(50):\n        yield 'ab' * 5000 if i % 2 else bytes([1]) * 9999\nimport asyncio\nreturn await asyncio.to_thread(save_file, name=name, content=parts())",
      catchError:
        "try:\n    save_file(path, name=name)\nexcept Exception as error:\n    return {'code': getattr(error, 'code', None), 'message': str(error), 'name': type(error).__name__}",
      open: "file = open_file(path)\nreturn {'path': file['path'], 'name': file['name']}",
      late: "import threading, time\ndef late():\n    time.sleep(0.05)\n    try:\n        save_file(name='late', content='x')\n    except RuntimeError as error:\n        print(error)\nthreading.Thread(target=late).start()\nreturn 1",
      unawaited:
        "import threading\nthreading.Thread(target=save_file, args=(path,)).start()\nimport time\ntime.sleep(0.1)\nreturn 1",
      quick: "return 'quick'",
    },
  },
};

describe.each(Object.entries(LANGUAGES))("%s", (language, { start, bodies }) => {
  async function begin() {
    const functions: Record<string, { code: string; parameters: string[] }> = {};
    for (const [name, code] of Object.entries(bodies)) functions[name] = { code, parameters: ["path", "name"] };
    const client = await start({ functions });
    return { client, host: new FileHost(client) };
  }

  test("a file, text, and parts of any size arrive whole", async () => {
    const { client, host } = await begin();
    await using _ = client;
    expect(await client.result("save", { path: join(folder, "big.bin"), name: "b" })).toEqual({
      id: "id-1",
      name: "b",
      mimeType: "text/x",
      size: big.length,
      sha256: sha256(big),
    });
    expect(host.saves[0]?.request).toMatchObject({ name: "b", mimeType: "text/x", description: "about", size: big.length });
    expect(await client.result("saveText")).toMatchObject({ name: "é.txt", sha256: sha256("größe") });
    const parts = Array.from({ length: 50 }, (_, i) => (i % 2 ? Buffer.from("ab".repeat(5000)) : Buffer.alloc(9999, 1)));
    expect(await client.result("saveStream", { name: "s" })).toMatchObject({ sha256: sha256(Buffer.concat(parts)) });
    expect(await client.result("save", { path: "/proc/self/status" })).toMatchObject({
      name: "status",
      size: expect.any(Number),
    });
    expect(host.saves.at(-1)?.chunks.length).toBeGreaterThan(0);
    expect(await client.result("save", { path: join(folder, "link.txt") })).toMatchObject({ name: "link.txt", size: 5 });
    const many = (await client.result("saveMany")) as { name: string; sha256: string }[];
    expect(many.map((each) => each.sha256)).toEqual(Array.from({ length: 20 }, (_, i) => sha256(Buffer.alloc(200000, i))));
    expect(host.violations).toEqual([]);
    expect(client.violations).toEqual([]);
  });

  test("what is no regular file is refused inside", async () => {
    const { client, host } = await begin();
    await using _ = client;
    for (const path of [folder, join(folder, "fifo"), "/dev/zero"]) {
      expect(await client.result("catchError", { path })).toMatchObject({
        message: expect.stringContaining("not a regular file"),
      });
    }
    expect(await client.result("catchError", { path: join(folder, "none") })).toMatchObject({
      message: expect.stringMatching(/no such file/i),
    });
    expect(await client.result("catchError", { path: join(folder, "small.txt"), name: 7 })).toBeNull();
    expect(host.saves.map((save) => save.request.name)).toEqual([7]);
  });

  test("the host's refusal is an exception with its code, also in the middle", async () => {
    const { client, host } = await begin();
    await using _ = client;
    host.refusals.set("no", { code: "QUOTA_EXCEEDED", message: "full" });
    const refused = { code: "QUOTA_EXCEEDED", message: "full", name: "FileError" };
    expect(await client.result("catchError", { path: join(folder, "big.bin"), name: "no" })).toEqual(refused);
    host.window = 0;
    const answer = client.result("catchError", { path: join(folder, "big.bin"), name: "later" });
    await host.until(() => host.saves.length === 2);
    const save = host.saves[1];
    if (save === undefined) throw new Error("no save");
    host.credit(save, 3);
    await host.until(() => save.chunks.length === 3);
    host.fail(save, { code: "FILE_TOO_LARGE", message: "big" });
    expect(await answer).toEqual({ code: "FILE_TOO_LARGE", message: "big", name: "FileError" });
    expect(save.chunks.length).toBe(3);
    expect(host.violations).toEqual([]);
  });

  test("without credit nothing is sent, and other calls are quick meanwhile", async () => {
    const { client, host } = await begin();
    await using _ = client;
    host.window = 0;
    const answer = client.result("save", { path: join(folder, "big.bin"), name: "slow" });
    await host.until(() => host.saves.length === 1);
    const save = host.saves[0];
    if (save === undefined) throw new Error("no save");
    host.credit(save, 2);
    await host.until(() => save.chunks.length === 2);
    for (let i = 0; i < 20; i++) {
      const before = performance.now();
      expect(await client.result("quick")).toBe("quick");
      expect(performance.now() - before).toBeLessThan(500);
    }
    expect(save.chunks.length).toBe(2);
    host.window = 4;
    host.credit(save, 4);
    expect(await answer).toMatchObject({ sha256: sha256(big) });
    expect(host.violations).toEqual([]);
  });

  test("a cancelled save ends, holds no thread, and says nothing more", async () => {
    const { client, host } = await begin();
    await using _ = client;
    host.window = 0;
    const { id, answer } = client.start("save", Buffer.from(JSON.stringify({ path: join(folder, "big.bin"), name: "x" })));
    await host.until(() => host.saves.length === 1);
    client.cancel(id);
    expect((await answer).cancelled).toEqual({ running: false });
    const save = host.saves[0];
    if (save !== undefined) host.credit(save, 4);
    expect(await client.result("quick")).toBe("quick");
    await delay(50);
    expect(save?.chunks).toEqual([]);
    expect(host.violations).toEqual([]);
    expect(client.violations).toEqual([]);
  });

  test("after its end a call saves nothing more", async () => {
    const { client, host } = await begin();
    await using _ = client;
    expect(await client.result("late")).toBe(1);
    await delay(200);
    expect(client.ownerless.map((entry) => entry.text).join()).toContain("only while the call runs");
    host.window = 0;
    expect(await client.result("unawaited", { path: join(folder, "big.bin") })).toBe(1);
    const save = host.saves.at(-1);
    if (save !== undefined) host.credit(save, 4);
    expect(await client.result("quick")).toBe("quick");
    expect(host.saves.flatMap((each) => each.chunks)).toEqual([]);
    expect(client.violations).toEqual([]);
  });

  test("files are opened by their ids", async () => {
    const { client, host } = await begin();
    await using _ = client;
    expect(await client.result("open", { path: "some-id" })).toEqual({ path: "some-id", name: "n" });
    expect(host.opened).toEqual(["some-id"]);
    if (language === "node") {
      expect(await client.result("open", { path: join(folder, "big.bin") })).toMatchObject({ name: "big.bin" });
    }
  });
});

test("Node reads opened files without node:fs", async () => {
  const path = join(folder, "small.txt");
  const code =
    "const file = await openFile(path); const parts = []; for await (const part of file.stream()) parts.push(part); return [file, await file.text(), (await file.bytes()).length, Buffer.concat(parts).toString()]";
  await using client = await startNode({ functions: { f: { code, parameters: ["path"] } }, allowedModules: [] });
  expect(await client.result("f", { path })).toEqual([{ name: "small.txt", size: 5, path }, "small", 5, "small"]);
});

test.each(["saveFile", "openFile"])("a function may still be called %s", async (name) => {
  await using client = await startNode({ functions: { [name]: "return 'mine'", f: `return ${name}()` } });
  expect(await client.result("f")).toBe("mine");
});

test("a Python function may still be called save_file", async () => {
  await using client = startPython();
  await client.load({ functions: { save_file: "return 'mine'", f: "return await save_file()" } });
  expect(await client.result("f")).toBe("mine");
});
