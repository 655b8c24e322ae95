import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Runtime } from "@treadle/runtimes";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { sourceOf } from "./archives.ts";
import { ended, setWorkbench, type Workbench } from "./workbench.ts";

vi.setConfig({ testTimeout: 300_000, hookTimeout: 120_000 });

// With the toolchains of this machine, and against the registries it is configured for.
let bench: Workbench;
beforeAll(async () => {
  bench = await setWorkbench();
});
afterAll(async () => {
  expect(await bench.leftovers()).toEqual([]);
  await bench[Symbol.asyncDispose]();
});

async function build(
  runtime: Runtime,
  files: Record<string, string>,
  command: string | null = null,
  entrypoint: string | null = null,
) {
  const source = await bench.builds.takeSource(await sourceOf(files));
  const { id } = await bench.builds.request({ source, runtime, entrypoint, command });
  return ended(bench.builds, id);
}

/** The example of a language's folder, as its README would have it deployed. */
async function exampleOf(language: string): Promise<Record<string, string>> {
  const folder = new URL(`../../../runtimes/${language}/example/`, import.meta.url).pathname;
  const files: Record<string, string> = {};
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) files[path.slice(folder.length)] = await readFile(path, "utf8");
  }
  return files;
}

test.for(["go", "java", "cpp"])(
  "the example of %s is built, and again from the dependencies fetched before",
  async (language, context) => {
    const runtime = bench.runtimes.named(language);
    if (runtime === undefined) {
      const missing = bench.runtimes.missing.find((each) => each.language === language);
      return context.skip(`${language}: ${missing?.reason ?? "there is no such folder"}`);
    }
    const files = await exampleOf(language);
    const first = await build(runtime, files, null, runtime.defaultEntrypoint);
    expect(first.state, first.text).toBe("ready");
    const { code } = await bench.builds.artifact(first.id);
    expect((await readdir(code)).length).toBeGreaterThan(0);
    const again = await build(
      runtime,
      { ...files, "NOTES.txt": "another source, the same dependencies" },
      null,
      runtime.defaultEntrypoint,
    );
    expect(again.state, again.text).toBe("ready");
    if (runtime.build.fetch !== null) expect(again.text).toContain("fetched before");
  },
);

test("packages of a package.json are installed, are there for the build command, and come back after their folder is gone", async () => {
  const files = {
    "index.js": "module.exports = () => require('is-number')(5)",
    "package.json": JSON.stringify({
      dependencies: { "is-number": "7.0.0" },
      scripts: { build: 'node -e \'require("fs").writeFileSync("built.txt", String(require("is-number")(5)))\'' },
    }),
  };
  const built = await build(bench.node, files, "npm run build", "index.js");
  expect(built.state, built.text).toBe("ready");
  expect(built.text).toContain("npm ci");
  expect(built.layers.map(({ kind }) => kind)).toEqual(["code"]);
  const { code, dependencies } = await bench.builds.artifact(built.id);
  expect(dependencies).toBeNull();
  expect(await readFile(join(code, "built.txt"), "utf8")).toBe("true");
  expect((await readdir(code)).sort()).toEqual(["built.txt", "index.js", "package.json"]);
  const install = await bench.builds.installed(built.id);
  const { directory } = (await install?.()) ?? { directory: "" };
  expect((await stat(join(directory, "node_modules/is-number/package.json"))).isFile()).toBe(true);
  expect(directory).toContain(built.lockDigest ?? "no digest");
  expect(await bench.store.builds.installedDigests()).toEqual(new Set([built.lockDigest]));
});

test("a package.json without packages installs nothing, and one that cannot be installed fails the build", async () => {
  const bare = await build(bench.node, { "index.js": "1", "package.json": '{"type": "module"}' }, null, "index.js");
  expect(bare.state, bare.text).toBe("ready");
  expect(await bench.builds.installed(bare.id)).toBeNull();
  const failed = await build(
    bench.node,
    { "index.js": "1", "package.json": '{"dependencies": {"x": "file:../x"}}' },
    null,
    "index.js",
  );
  expect(failed).toMatchObject({
    state: "failed",
    error: { code: "BUILD_FAILED", message: expect.stringContaining("The step install failed.") },
  });
});

test("Python packages are installed and seen by the build command", async (context) => {
  const python = bench.runtimes.named("python");
  if (python === undefined) return context.skip("this machine has no Python for sandboxes");
  const files = { "main.py": "x", "requirements.txt": "six==1.16.0\n" };
  const built = await build(python, files, "python3 -c 'import six; print(\"six is\", six.__version__)'", "main.py");
  expect(built.state, built.text).toBe("ready");
  expect(built.text).toContain("six is 1.16.0");
  const install = await bench.builds.installed(built.id);
  expect((await stat(join((await install?.())?.directory ?? "", "six.py"))).isFile()).toBe(true);
});
