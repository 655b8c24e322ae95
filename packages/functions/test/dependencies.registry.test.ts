import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { failure, packageJson, states, Workbench } from "./dependencies/workbench.ts";

// Against the registries this machine is configured for. Without network these tests fail: they are what shows that it works.

let bench: Workbench;
beforeAll(async () => {
  bench = await Workbench.set();
});
afterAll(() => bench[Symbol.asyncDispose]());

test("Node packages, a scoped one among them, are locked and installed", { timeout: 120_000 }, async () => {
  await using installer = bench.installer();
  const { onState, seen, last } = states();
  const installed = await installer.resolveAndInstall(
    "node",
    packageJson({ "is-number": "^7.0.0", "@sindresorhus/is": "4.0.0" }),
    { onState },
  );
  expect(seen).toEqual(["resolving", "installing", "ready"]);
  expect(last()).toMatchObject({ status: "ready", error: null, bytes: installed.bytes });
  expect(last().log).toContain("npm ci");
  expect(installed.packages).toEqual([
    { name: "@sindresorhus/is", version: "4.0.0" },
    { name: "is-number", version: "7.0.0" },
  ]);
  expect(installed.lockText).not.toContain("resolved");
  expect(installed.bytes).toBeGreaterThan(10_000);
  const manifest = await readFile(join(installed.directory, "node_modules/is-number/package.json"), "utf8");
  expect(JSON.parse(manifest).version).toBe("7.0.0");
  const { uid, mode } = await stat(join(installed.directory, "node_modules/is-number/index.js"));
  expect([uid, mode & 0o7777]).toEqual([process.getuid?.(), 0o644]);
  expect(await bench.leftovers()).toEqual([]);
});

test("a lock is installed again without a sandbox", { timeout: 120_000 }, async () => {
  await using installer = bench.installer();
  const files = packageJson({ "is-number": "7.0.0" });
  const first = await installer.resolveAndInstall("node", files);
  const before = performance.now();
  const again = await installer.resolveAndInstall("node", files, { lockText: first.lockText });
  expect(performance.now() - before).toBeLessThan(100);
  expect(again).toEqual(first);
  const withLock = await installer.resolveAndInstall("node", { ...files, "package-lock.json": first.lockText });
  expect(withLock.digest).toBe(first.digest);
});

test("Python packages are locked with hashes and installed", { timeout: 120_000 }, async () => {
  await using installer = bench.installer();
  const { onState, seen } = states();
  const installed = await installer.resolveAndInstall("python", { "requirements.txt": "six==1.16.0\n" }, { onState });
  expect(seen).toEqual(["resolving", "installing", "ready"]);
  expect(installed.packages).toEqual([{ name: "six", version: "1.16.0" }]);
  expect(installed.lockText).toContain("--hash=sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254");
  expect(await readFile(join(installed.directory, "six.py"), "utf8")).toContain("1.16.0");
  expect((await stat(join(installed.directory, "__pycache__"))).isDirectory()).toBe(true);
  const pyproject = '[project]\nname = "x"\nversion = "1"\ndependencies = ["six == 1.16.0"]\n';
  const same = await installer.resolveAndInstall("python", { "pyproject.toml": pyproject });
  expect(same.digest).toBe(installed.digest);
});

test("a requirement's own hashes are kept to", { timeout: 120_000 }, async () => {
  await using installer = bench.installer();
  const wheel = "sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254";
  const installed = await installer.resolveAndInstall("python", { "requirements.txt": `six==1.16.0 --hash=${wheel}\n` });
  expect(installed.lockText.match(/--hash/g)).toHaveLength(1);
  const other = await failure(
    installer.resolveAndInstall("python", { "requirements.txt": `six==1.16.0 --hash=sha256:${"0".repeat(64)}\n` }),
  );
  expect(other.message).toBe('The index has no file of "six" 1.16.0 with the hash that is asked for.');
});

test("the cause of a failure is one sentence", { timeout: 240_000 }, async () => {
  await using installer = bench.installer();
  const node = (dependencies: Record<string, string>) => failure(installer.resolveAndInstall("node", packageJson(dependencies)));
  const python = (text: string) => failure(installer.resolveAndInstall("python", { "requirements.txt": text }));
  const outcomes = await Promise.all([
    node({ "treadle-has-no-such-package": "1" }),
    node({ "@treadle-has-no-such-scope/x": "1" }),
    node({ "is-number": "^99" }),
    node({ "is-number": "no-such-tag" }),
    python("treadle-has-no-such-package"),
    python("six==99"),
    python("six>=1.16\nsix<1"),
    python("python-ldap==3.4.4"),
  ]);
  expect(new Set(outcomes.map(({ code }) => code))).toEqual(new Set(["INSTALL_FAILED"]));
  expect(outcomes.map(({ message }) => message)).toEqual([
    'There is no package named "treadle-has-no-such-package" in the registry.',
    'There is no package named "@treadle-has-no-such-scope/x" in the registry.',
    'No version of "is-number" matches ^99.',
    'No version of "is-number" matches no-such-tag.',
    'There is no package named "treadle-has-no-such-package" in the index.',
    'No version of "six" matches ==99.',
    "The packages cannot be installed together: Because you require six>=1.16 and six<1.",
    '"python-ldap" needs a build step, and install scripts are off.',
  ]);
  expect(outcomes[2]?.details.log).toContain("ETARGET");
  expect(await bench.leftovers()).toEqual([]);
});

test("a uv.lock is installed as it is", { timeout: 120_000 }, async () => {
  await using installer = bench.installer();
  const pyproject = '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.9"\ndependencies = ["six"]\n';
  const uvLock = `version = 1
revision = 3
requires-python = ">=3.9"

[[package]]
name = "six"
version = "1.16.0"
source = { registry = "https://index.invalid/simple" }
wheels = [
    { url = "https://index.invalid/six-1.16.0-py2.py3-none-any.whl", hash = "sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254", size = 11053 },
]

[[package]]
name = "x"
version = "1"
source = { virtual = "." }
dependencies = [
    { name = "six" },
]

[package.metadata]
requires-dist = [{ name = "six" }]
`;
  const installed = await installer.resolveAndInstall("python", { "pyproject.toml": pyproject, "uv.lock": uvLock });
  expect(installed.packages).toEqual([{ name: "six", version: "1.16.0" }]);
  const git = uvLock
    .replace(/wheels = \[[^\]]*\]\n/, "")
    .replace(/registry = "[^"]*"/, 'git = "https://index.invalid/six?rev=1#0123456789012345678901234567890123456789"');
  const refused = await failure(installer.resolveAndInstall("python", { "pyproject.toml": pyproject, "uv.lock": git }));
  expect(refused.message).toMatch(/^The lock has "six @ git\+https.*only packages of the index can be installed\.$/);
});
