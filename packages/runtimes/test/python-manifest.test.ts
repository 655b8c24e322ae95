import { chmod, copyFile, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { manifest } from "../python/manifest.ts";
import { python } from "./python-server.ts";

async function findWith(path: string) {
  const before = process.env.TREADLE_PYTHON;
  process.env.TREADLE_PYTHON = path;
  try {
    return await manifest.find();
  } finally {
    if (before === undefined) delete process.env.TREADLE_PYTHON;
    else process.env.TREADLE_PYTHON = before;
  }
}

test("describes the Python that was found", () => {
  expect(python).toMatchObject({ language: "python", aliases: ["python3"], name: expect.stringMatching(/^python-3\.\d+$/) });
  const [executable] = python.root.executables;
  expect(python.command({ transport: "frames", heapBytes: 1, code: null, dependencies: null })[0]).toBe(executable?.target);
  expect(python.root.system.some((path) => path.includes("dist-packages"))).toBe(false);
});

test("finds it again within 100 ms", async () => {
  // The best of five: what else the machine does is not meant.
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 5; i++) {
    const begun = performance.now();
    await manifest.find();
    best = Math.min(best, performance.now() - begun);
  }
  expect(best).toBeLessThan(100);
});

test("refuses what is no Python, is missing, or lies where a sandbox cannot read it", async (ctx) => {
  expect(await findWith("/nonexistent/python3")).toMatchObject({
    reason: expect.stringContaining("does not exist"),
    remedy: expect.any(String),
  });
  expect(await findWith("/bin/true")).toMatchObject({ reason: expect.stringContaining("/bin/true") });
  if (process.getuid?.() !== 0) ctx.skip("only a root server runs its sandboxes under another account");
  const folder = await mkdtemp(join(tmpdir(), "treadle-python-hidden-"));
  await mkdir(join(folder, "bin"));
  await copyFile(python.root.executables[0]?.source ?? "", join(folder, "bin/python3"));
  await chmod(folder, 0o700);
  expect(await findWith(join(folder, "bin/python3"))).toMatchObject({ reason: expect.stringContaining(folder) });
  await rm(folder, { recursive: true });
});
