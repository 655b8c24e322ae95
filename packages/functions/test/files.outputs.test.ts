import { createHash } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { Workbench } from "./files/workbench.ts";

const MEBIBYTE = 1024 * 1024;
const sha256 = (bytes: Buffer | string) => createHash("sha256").update(bytes).digest("hex");

interface Saved {
  readonly id: string;
  readonly name: string;
  readonly mimeType: string;
  readonly size: number;
  readonly sha256: string;
}

/** Bodies of inline functions; `fs` is everything in them. */
const NODE = (body: string) => `const fs = process.getBuiltinModule("fs"); ${body}`;
const NODE_TRY = (body: string) =>
  NODE(
    `try { return { done: await (async () => { ${body} })() } } catch (error) { return { code: error.code ?? null, message: error.message } }`,
  );
const PYTHON_TRY = (body: string) =>
  `import os\ntry:\n    ${body}\nexcept Exception as error:\n    return {"code": getattr(error, "code", None), "message": str(error)}`;

const BODIES = {
  node: {
    save: NODE(
      'fs.writeFileSync("/tmp/result.csv", "a,b\\n1,2\\n"); return saveFile("/tmp/result.csv", { description: "of a test" })',
    ),
    content: "return saveFile({ name, type, content: 'content' })",
    size: "return (await openFile(file)).size",
    open: "const file = await openFile(id); return { text: await file.text(), ...file }",
    big: NODE(
      'const block = Buffer.alloc(1048576, 7); const fd = fs.openSync("/tmp/big", "w"); for (let i = 0; i < 100; i++) fs.writeSync(fd, block); fs.closeSync(fd); return saveFile("/tmp/big", { name: "big" })',
    ),
    quick: "return 1",
    refused: NODE_TRY("return saveFile(path, { name: 'x' })"),
    tryContent: NODE_TRY("return saveFile({ name, type, content: Buffer.alloc(size) })"),
    tryOpen: NODE_TRY("return openFile(id)"),
    sparse: NODE_TRY('const fd = fs.openSync("/tmp/sparse", "w"); fs.ftruncateSync(fd, 2 ** 40); return saveFile("/tmp/sparse")'),
    endless:
      "async function* parts() { for (;;) yield Buffer.alloc(100000) } return saveFile({ name: 'endless', content: parts() })",
    tryEndless: NODE_TRY(
      "async function* parts() { for (;;) yield Buffer.alloc(100000) } return saveFile({ name: 'endless', content: parts() })",
    ),
    stuck:
      "async function* parts() { yield Buffer.alloc(300000); await new Promise(() => undefined) } return saveFile({ name: 'stuck', content: parts() })",
    die: "async function* parts() { yield Buffer.alloc(300000); await new Promise((done) => setTimeout(done, 200)); process.kill(process.pid, 'SIGKILL') } return saveFile({ name: 'die', content: parts() })",
    forget: "saveFile({ name: 'forgotten', content: Buffer.alloc(3000000) }).catch(() => undefined); return 'done'",
    throws:
      "async function* parts() { yield Buffer.alloc(300000); throw new Error('mine') } return saveFile({ name: 'thrown', content: parts() })",
    links: NODE_TRY(
      'fs.symlinkSync("/etc/shadow", "/tmp/s"); fs.symlinkSync("/proc/1/environ", "/tmp/e"); const told = []; for (const path of ["/tmp/s", "/tmp/e"]) await saveFile(path).then((file) => told.push(file.size), (error) => told.push(error.code)); return told',
    ),
    many: "return (await Promise.all(Array.from({ length: 60 }, (_, i) => saveFile({ name: String(i), content: String(i) })))).map((file) => file.name)",
    tooMany: NODE_TRY("for (let i = 0; ; i++) await openFile(id)"),
  },
  python: {
    save: 'with open("/tmp/result.csv", "w") as file:\n    file.write("a,b\\n1,2\\n")\nreturn save_file("/tmp/result.csv", description="of a test")',
    content: "return await save_file(name=name, type=type, content='content')",
    size: "import os\nreturn os.stat(file).st_size",
    open: 'file = open_file(id)\nwith open(file["path"]) as source:\n    return {"text": source.read(), **file}',
    big: 'with open("/tmp/big", "wb") as file:\n    for _ in range(100):\n        file.write(bytes([7]) * 1048576)\nreturn save_file("/tmp/big", name="big")',
    quick: "return 1",
    refused: PYTHON_TRY('return {"done": save_file(path, name="x")}'),
    tryContent: PYTHON_TRY('return {"done": save_file(name=name, type=type, content=bytes(size))}'),
    tryOpen: PYTHON_TRY('return {"done": open_file(id)}'),
    sparse: PYTHON_TRY(
      'fd = os.open("/tmp/sparse", os.O_CREAT | os.O_WRONLY); os.ftruncate(fd, 2 ** 40); return {"done": save_file("/tmp/sparse")}',
    ),
    endless: "def parts():\n    while True:\n        yield bytes(100000)\nreturn save_file(name='endless', content=parts())",
    tryEndless: `def parts():\n    while True:\n        yield bytes(100000)\n${PYTHON_TRY("return {'done': save_file(name='endless', content=parts())}")}`,
    stuck:
      "import time\ndef parts():\n    yield bytes(300000)\n    time.sleep(600)\nreturn save_file(name='stuck', content=parts())",
    die: "import os, time\ndef parts():\n    yield bytes(300000)\n    time.sleep(0.2)\n    os.kill(os.getpid(), 9)\nreturn save_file(name='die', content=parts())",
    forget:
      "import threading\nthreading.Thread(target=lambda: save_file(name='forgotten', content=bytes(3000000))).start()\nimport time\ntime.sleep(0.002)\nreturn 'done'",
    throws:
      "def parts():\n    yield bytes(300000)\n    raise ValueError('mine')\nreturn save_file(name='thrown', content=parts())",
    links:
      'import os\nos.symlink("/etc/shadow", "/tmp/s")\nos.symlink("/proc/1/environ", "/tmp/e")\ntold = []\nfor path in ("/tmp/s", "/tmp/e"):\n    try:\n        told.append(save_file(path)["size"])\n    except OSError as error:\n        told.append(error.strerror)\nreturn {"done": told}',
    many: "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(20) as pool:\n    return [file['name'] for file in pool.map(lambda i: save_file(name=str(i), content=str(i)), range(60))]",
    tooMany: PYTHON_TRY("while True: open_file(id)"),
  },
} as const;
const HANDLERS = {
  node: `module.exports = async ({ req, res, saveFile, openFile }) => {
  const saved = await saveFile({ name: "upper.txt", content: req.bodyText.toUpperCase() });
  const opened = await openFile(saved.id);
  return res.json({ saved, text: require("fs").readFileSync(opened.path, "utf8") });
};`,
  python: `import asyncio
async def main(context):
    saved = await asyncio.to_thread(context.save_file, name="upper.txt", content=context.req.body_text.upper())
    opened = context.open_file(saved["id"])
    with open(opened["path"]) as source:
        return context.res.json({"saved": saved, "text": source.read()})`,
};

let bench: Workbench;
beforeAll(async () => {
  bench = await Workbench.set({ files: { fileMaxBytes: 300 * MEBIBYTE } });
}, 60_000);
afterAll(() => bench[Symbol.asyncDispose]());

describe.each(["node", "python"] as const)("%s", (language) => {
  const workspace = `outputs-${language}`;
  const text = { type: "string" };
  beforeAll(() => {
    const parameters = { path: text, name: text, type: text, id: text, size: { type: "integer" } };
    const functions = Object.entries(BODIES[language]).map(([name, code]) => {
      const file = name === "size" ? { file: { type: "string", format: "file" } } : parameters;
      return [name, { language, code, parameters: file, ...(["endless", "stuck"].includes(name) ? { timeoutMs: 700 } : {}) }];
    });
    return bench.save(workspace, { ...Object.fromEntries(functions), handler: { language, handler: HANDLERS[language] } });
  }, 60_000);
  afterEach(async () => {
    await expect.poll(() => bench.leftovers(), { timeout: 20_000 }).toEqual([]);
    expect(bench.warnings).toEqual([]);
  });

  const contentOf = async (id: string) => buffer(await bench.files.read(await bench.files.get(workspace, id)));
  const names = async () => (await bench.files.list(workspace, { limit: 1000 })).files.map((file) => file.name);

  test("a saved file can be downloaded, given to another function, and opened by its id", async () => {
    const saved = await bench.result<Saved>(workspace, "save");
    expect(saved).toEqual({
      id: expect.any(String),
      name: "result.csv",
      mimeType: "text/csv",
      size: 8,
      sha256: sha256("a,b\n1,2\n"),
    });
    expect((await contentOf(saved.id)).toString()).toBe("a,b\n1,2\n");
    expect((await bench.files.get(workspace, saved.id)).description).toBe("of a test");
    expect(await bench.result(workspace, "size", { file: saved.id })).toBe(8);
    expect(await bench.result(workspace, "open", { id: saved.id })).toEqual({
      ...saved,
      text: "a,b\n1,2\n",
      path: expect.stringMatching(/^\/files\//),
    });
    const named = await bench.result<Saved>(workspace, "content", { name: "größe.json", type: "application/json" });
    expect(named).toMatchObject({ name: "größe.json", mimeType: "application/json", sha256: sha256("content") });
    expect(await bench.result(workspace, "many")).toEqual(Array.from({ length: 60 }, (_, i) => String(i)));
  });

  test("a handler saves and opens by its context", async () => {
    const { saved, text } = await bench.respond<{ saved: Saved; text: string }>(workspace, "handler", "größer");
    expect(text).toBe("GRÖSSER");
    expect((await contentOf(saved.id)).toString()).toBe("GRÖSSER");
  });

  test("100 MB go out with little memory, while other calls stay quick", async () => {
    await bench.result(workspace, "quick");
    const before = process.memoryUsage().rss;
    let most = before;
    let slowest = 0;
    let calls = 0;
    const saved = bench.result<Saved>(workspace, "big");
    let done = false;
    void saved.finally(() => {
      done = true;
    });
    while (!done) {
      const begun = performance.now();
      await bench.result(workspace, "quick");
      slowest = Math.max(slowest, performance.now() - begun);
      calls += 1;
      most = Math.max(most, process.memoryUsage().rss);
      await delay(2);
    }
    expect(await saved).toMatchObject({ size: 100 * MEBIBYTE, sha256: sha256(Buffer.alloc(100 * MEBIBYTE, 7)) });
    console.log(
      `${language}: ${calls} calls meanwhile, slowest ${slowest.toFixed(1)} ms, host grew ${((most - before) / MEBIBYTE).toFixed(1)} MiB`,
    );
    expect(calls).toBeGreaterThan(20);
    // Less than one copy of it; what V8 lets pile up before it collects is most of it.
    expect(most - before).toBeLessThan(90 * MEBIBYTE);
  });

  test("what may not be is an exception in user code, with its code", async () => {
    for (const wrong of ["a/b", "", "..", "a\0b", "x".repeat(300)]) {
      expect(await bench.result(workspace, "tryContent", { name: wrong, size: 10 })).toMatchObject({ code: "BAD_REQUEST" });
    }
    expect(await bench.result(workspace, "tryContent", { name: "x".repeat(100_000), size: 10 })).toMatchObject({
      code: expect.anything(),
    });
    expect(await bench.result(workspace, "tryContent", { name: "x", type: "text/html\r\nx: y", size: 10 })).toMatchObject({
      code: "BAD_REQUEST",
    });
    expect(await bench.result(workspace, "tryOpen", { id: "nonsense" })).toMatchObject({ code: "UNKNOWN_FILE" });
    const foreign = await bench.files.put("foreign", { name: "f" }, (async function* () {})());
    expect(await bench.result(workspace, "tryOpen", { id: foreign.id })).toMatchObject({ code: "UNKNOWN_FILE" });
    expect(
      await bench.result(workspace, "tooMany", { id: (await bench.files.list(workspace, { limit: 1 })).files[0]?.id }),
    ).toMatchObject({
      code: "BAD_REQUEST",
      message: expect.stringContaining("at most 1000"),
    });
  });

  test("the quota holds, whether the size is known before or not", async () => {
    const { bytes } = await bench.files.usage(workspace);
    await bench.files.setQuota(workspace, bytes + 5 * MEBIBYTE);
    try {
      expect(await bench.result(workspace, "tryContent", { name: "x", size: 6 * MEBIBYTE })).toMatchObject({
        code: "QUOTA_EXCEEDED",
      });
      expect(await bench.result(workspace, "tryEndless")).toMatchObject({ code: "QUOTA_EXCEEDED" });
      expect(await bench.result(workspace, "tryContent", { name: "fits", size: MEBIBYTE })).toMatchObject({
        done: { name: "fits" },
      });
    } finally {
      await bench.files.setQuota(workspace, "default");
    }
  });

  test("a huge sparse file is stopped by the limit, at once", async () => {
    const begun = performance.now();
    expect(await bench.result(workspace, "sparse")).toMatchObject({ code: "FILE_TOO_LARGE" });
    expect(performance.now() - begun).toBeLessThan(3_000);
  });

  test("fifos, devices and folders are refused; links lead nowhere that code cannot read", async () => {
    const fifo =
      language === "node"
        ? NODE_TRY("return saveFile('/tmp/fifo')")
        : `${PYTHON_TRY('os.mkfifo("/tmp/fifo"); return {"done": save_file("/tmp/fifo")}')}`;
    if (language === "python") {
      await bench.save(workspace, { fifo: { language, code: fifo } });
      expect(await bench.result(workspace, "fifo")).toMatchObject({ message: expect.stringContaining("not a regular file") });
    }
    for (const path of ["/dev/zero", "/dev/random", "/tmp", "/proc/self/fd/3"]) {
      expect(await bench.result(workspace, "refused", { path })).not.toHaveProperty("done");
    }
    const { done } = await bench.result<{ done: unknown[] }>(workspace, "links");
    expect(done[0]).toMatch(/ENOENT|EACCES|No such file|denied/i);
    expect(done[1]).toMatch(/ENOENT|EACCES|EPERM|No such file|denied|permitted/i);
  });

  test("a call that ends, throws, is timed out or dies leaves nothing of what it did not finish", async () => {
    expect(await bench.result(workspace, "forget")).toBe("done");
    expect((await bench.failure(workspace, "throws")).code).toBe("THREW");
    expect((await bench.failure(workspace, "endless")).code).toBe("TIMED_OUT");
    expect((await bench.failure(workspace, "stuck")).code).toBe("TIMED_OUT");
    expect(await bench.result(workspace, "quick")).toBe(1);
    expect((await bench.failure(workspace, "die")).code).toBe("CRASHED");
    expect(await bench.result(workspace, "quick")).toBe(1);
    await expect.poll(() => bench.leftovers(), { timeout: 20_000 }).toEqual([]);
    // One folder for each live process, and no more.
    await expect
      .poll(async () => (await readdir(join(bench.folder, "placed"))).length, { timeout: 20_000 })
      .toBe(bench.functions.instances().length);
    expect((await names()).filter((name) => ["endless", "stuck", "die", "thrown"].includes(name))).toEqual([]);
  });
});

test("stopping in the middle of saves leaves nothing and does not hang", async () => {
  await using stopped = await Workbench.set();
  const { node, python } = BODIES;
  await stopped.save("w", { node: { code: node.endless }, python: { language: "python", code: python.endless } });
  const answers = [stopped.run("w", "node"), stopped.run("w", "python")];
  await expect.poll(async () => (await stopped.leftovers()).length, { interval: 20 }).toBe(2);
  const begun = performance.now();
  await stopped.functions[Symbol.asyncDispose]();
  expect(performance.now() - begun).toBeLessThan(20_000);
  expect(await stopped.files.list("w")).toMatchObject({ files: [] });
  for (const { outcome } of await Promise.all(answers)) expect(outcome).toMatchObject({ state: "failed" });
  expect(stopped.warnings).toEqual([]);
}, 60_000);
