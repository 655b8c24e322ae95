import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
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

/** Compiled ones take their time: all of them under `npm run test:languages`. */
const asked = process.env.TREADLE_LANGUAGES ?? "java";
const COMPILED = ["go", "java", "cpp"].filter((language) => asked === "all" || asked.split(",").includes(language));

test.for(COMPILED)("the example of %s is built, and again from the dependencies fetched before", async (language, context) => {
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
});

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

test("a build command finds development dependencies, with and without a lock; the function runs without them", async () => {
  const manifest = {
    devDependencies: { typescript: "5.9.3" },
    dependencies: { "is-number": "7.0.0" },
    scripts: { build: "tsc" },
  };
  const files = {
    "src/index.ts":
      "export default async ({ res }: { res: { json(body: unknown): unknown } }): Promise<unknown> => res.json({ language: 'node' });\n",
    "tsconfig.json": JSON.stringify({
      compilerOptions: { module: "nodenext", target: "es2023", outDir: "dist", types: [], strict: true },
      include: ["src"],
    }),
    "package.json": JSON.stringify({ type: "module", ...manifest }),
  };
  const built = await build(bench.node, files, "npm run build", "dist/index.js");
  expect(built.state, built.text).toBe("ready");
  const { code } = await bench.builds.artifact(built.id);
  const made = (await import(pathToFileURL(join(code, "dist/index.js")).href)) as { default(context: object): Promise<unknown> };
  expect(await made.default({ res: { json: (body: unknown) => body } })).toEqual({ language: "node" });
  const { directory } = (await (await bench.builds.installed(built.id))?.()) ?? { directory: "" };
  expect((await readdir(join(directory, "node_modules"))).filter((name) => !name.startsWith("."))).toEqual(["is-number"]);
  const { packages: locked, root } = lockOf(await bench.store.builds.installation(built.id));
  const lock = JSON.stringify({
    ...{ name: "x", version: "1.0.0", lockfileVersion: 3, requires: true },
    packages: {
      "": { ...root, devDependencies: manifest.devDependencies },
      ...locked,
      "node_modules/typescript": {
        ...{ version: "5.9.3", dev: true, license: "Apache-2.0", bin: { tsc: "bin/tsc", tsserver: "bin/tsserver" } },
      },
    },
  });
  const withLock = await build(bench.node, { ...files, "package-lock.json": lock }, "npm run build", "dist/index.js");
  expect(withLock.state, withLock.text).toBe("ready");
  const onlyForBuilding = { "package.json": JSON.stringify({ type: "module", ...manifest, dependencies: {} }) };
  const bare = await build(bench.node, { ...files, ...onlyForBuilding }, "npm run build", "dist/index.js");
  expect(bare.state, bare.text).toBe("ready");
  expect(await bench.builds.installed(bare.id)).toBeNull();
  const wrong = await build(bench.node, { ...files, "src/index.ts": "export const a: number = 'text';" }, "npm run build");
  expect(wrong.state).toBe("failed");
  expect(wrong.error?.message).toContain("TS2322");
});

/** The packages of a lock, and what it says of the source itself. */
function lockOf(installation: { readonly lockText: string } | null) {
  const { "": root, ...packages } = (JSON.parse(installation?.lockText ?? "{}") as { packages: Record<string, object> }).packages;
  return { root, packages };
}

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
