import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Workbench } from "./files/workbench.ts";

const FILE = { type: "string", format: "file" };
const big = randomBytes(10 * 1024 * 1024 + 3);
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

const HASH = {
  node: 'const hash = require("crypto").createHash("sha256"); for await (const part of (await openFile(file)).stream()) hash.update(part); return { digest: hash.digest("hex"), file };',
  python:
    'import hashlib\nwith open(file, "rb") as source:\n    return {"digest": hashlib.sha256(source.read()).hexdigest(), "file": file}',
};
const SIZES = {
  node: "return Promise.all((list ?? []).map(async (path) => (await openFile(path)).size))",
  python: "import os\nreturn [os.stat(path).st_size for path in list or []]",
};
const ECHO = { node: "return { file, list }", python: "return {'file': file, 'list': list}" };
const SLEEP = {
  node: "await new Promise((done) => setTimeout(done, ms)); return (await openFile(file)).size",
  python: "import os, time\ntime.sleep(ms / 1000)\nreturn os.stat(file).st_size",
};

let bench: Workbench;
beforeAll(async () => {
  bench = await Workbench.set();
}, 60_000);
afterAll(() => bench[Symbol.asyncDispose]());

const put = (workspace: string, name: string, bytes: Buffer) => bench.files.put(workspace, { name }, Readable.from([bytes]));

describe.each(["node", "python"] as const)("%s", (language) => {
  const workspace = `parameters-${language}`;
  beforeAll(() =>
    bench.save(workspace, {
      hash: { language, code: HASH[language], parameters: { file: { ...FILE, required: true } } },
      sizes: { language, code: SIZES[language], parameters: { list: { type: "array", items: FILE } } },
      echo: { language, code: ECHO[language], parameters: { file: FILE, list: { type: "array", items: FILE } } },
      sleep: { language, code: SLEEP[language], parameters: { file: FILE, ms: { type: "number" } } },
    }),
  );

  test("a file of 10 MB is read as it was put, and is gone afterwards", async () => {
    const file = await put(workspace, "big file.bin", big);
    const { digest, file: path } = await bench.result<{ digest: string; file: string }>(workspace, "hash", { file: file.id });
    expect(digest).toBe(sha256(big));
    expect(path).toMatch(/^\/files\/[^/]+\/1\/big file\.bin$/);
    await expect.poll(() => bench.leftovers()).toEqual([]);
  });

  test("the record keeps the id, not the path", async () => {
    const file = await put(workspace, "a", Buffer.from("a"));
    const execution = await bench.run(workspace, "hash", { file: file.id });
    expect(execution.input).toEqual({ kind: "inline", argumentsText: JSON.stringify({ file: file.id }) });
  });

  test("a list of files, no files, and names that no folder can have", async () => {
    const names = ["x".repeat(255), "é".repeat(200), "...", "a b\\c", "-rf", "plain.csv"];
    const files = await Promise.all(names.map((name, index) => put(workspace, name, Buffer.alloc(index + 1))));
    expect(await bench.result(workspace, "sizes", { list: files.map(({ id }) => id) })).toEqual([1, 2, 3, 4, 5, 6]);
    expect(await bench.result(workspace, "sizes", {})).toEqual([]);
    expect(await bench.result(workspace, "sizes", { list: [] })).toEqual([]);
    expect(await bench.result(workspace, "echo", {})).toEqual(language === "node" ? {} : { file: null, list: null });
  });

  test("an id that is none, or another workspace's, is an INVALID_PARAMETERS that names the parameter", async () => {
    const foreign = await put(`${workspace}-other`, "secret", Buffer.from("secret"));
    const own = await put(workspace, "own", Buffer.from("own"));
    for (const id of [
      foreign.id,
      "nonsense",
      "",
      "../../etc/passwd",
      "\0",
      "x".repeat(10_000),
      "01890a5d-ac96-774b-bcce-b302099a8057",
    ]) {
      const { code, message, details } = await bench.failure(workspace, "hash", { file: id });
      expect(code).toBe("INVALID_PARAMETERS");
      expect(message).toContain("file is not the id of a file of this workspace");
      expect(details).toMatchObject({ errors: [{ path: "/file" }] });
    }
    const { details } = await bench.failure(workspace, "sizes", { list: [own.id, foreign.id] });
    expect(details).toMatchObject({ errors: [{ path: "/list/1" }] });
    expect((await bench.failure(workspace, "sizes", { list: Array(1001).fill(own.id) })).message).toContain("at most 1000");
    await expect.poll(() => bench.leftovers()).toEqual([]);
  });

  test("calls at the same time each have their own files, and only as long as they run", async () => {
    const files = await Promise.all(Array.from({ length: 20 }, (_, i) => put(workspace, "f", Buffer.alloc(i + 1))));
    const sizes = await Promise.all(files.map(({ id }, i) => bench.result(workspace, "sleep", { file: id, ms: 20 * (i % 5) })));
    expect(sizes).toEqual(files.map(({ size }) => size));
    await expect.poll(() => bench.leftovers()).toEqual([]);
  });

  test("removing a file while it is read does not take it from the call", async () => {
    const file = await put(workspace, "f", Buffer.alloc(77));
    const answer = bench.result(workspace, "sleep", { file: file.id, ms: 400 });
    await expect.poll(async () => (await bench.leftovers()).length, { interval: 5 }).toBeGreaterThan(0);
    await bench.files.remove(workspace, file.id);
    expect(await answer).toBe(77);
  });
});

test("files elsewhere in a schema are refused when it is saved", async () => {
  for (const parameters of [
    { a: { type: "object", properties: { f: FILE } } },
    { a: { oneOf: [FILE, { type: "null" }] } },
    { a: { type: "array", items: { type: "array", items: FILE } } },
    { a: { anyOf: [{ items: FILE }] } },
  ]) {
    await expect(bench.save("refused", { f: { code: "return 1", parameters } })).rejects.toMatchObject({
      code: "INVALID_SCHEMA",
      message: expect.stringContaining('format "file" at /a/'),
    });
  }
  const harmless = { type: "object", default: { format: "file" }, properties: { format: { const: "file" } } };
  await bench.save("refused", {
    f: { code: "return 1", parameters: { format: { type: "string", default: "file" }, a: harmless } },
  });
});

test("a parameter may have any name, and a default", async () => {
  const file = await put("odd", "f", Buffer.from("12345"));
  const parameters = JSON.parse(`{"__proto__": ${JSON.stringify(FILE)}, "d": ${JSON.stringify({ ...FILE, default: file.id })}}`);
  await bench.save("odd", {
    f: {
      code: "return [(await openFile(d)).size, Object.keys(parameters), parameters['__proto__'].startsWith('/files/')]",
      parameters,
    },
  });
  const input = JSON.parse(`{"__proto__": ${JSON.stringify(file.id)}}`);
  expect(await bench.result("odd", "f", input)).toEqual([5, ["__proto__", "d"], true]);
});

test("without a sandbox files are copied, so that code cannot write into storage", async () => {
  await using unconfined = await Workbench.set({ driver: "none" });
  const file = await unconfined.files.put("w", { name: "f" }, Readable.from([Buffer.from("original")]));
  const code = `import os
os.chmod(file, 0o666)
with open(file, "r+") as target:
    target.write("CHANGED!")
with open(file) as source:
    return source.read()`;
  await unconfined.save("w", { f: { language: "python", code, parameters: { file: FILE } } });
  expect(await unconfined.result("w", "f", { file: file.id })).toBe("CHANGED!");
  const stored = await (await unconfined.files.read(file)).toArray();
  expect(Buffer.concat(stored).toString()).toBe("original");
  await expect.poll(() => unconfined.leftovers()).toEqual([]);
}, 60_000);
