import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { tarball, zip } from "./dependencies/archives.ts";
import { PackageServer } from "./dependencies/package-server.ts";
import { failure, packageJson, Workbench } from "./dependencies/workbench.ts";

// A registry of our own on loopback serves what the worst registry and the worst package could.

let bench: Workbench;
let registry: PackageServer;
beforeEach(async () => {
  bench = await Workbench.set();
  registry = await PackageServer.start();
});
afterEach(async () => {
  expect(await bench.leftovers()).toEqual([]);
  await registry[Symbol.asyncDispose]();
  await bench[Symbol.asyncDispose]();
});

const manifestOf = (manifest: object) => ({
  name: "package/package.json",
  text: JSON.stringify({ version: "1.0.0", ...manifest }),
});

/** What a wheel has beside its modules. */
function wheelMetadata(name: string) {
  const folder = `${name}-1.0.0.dist-info`;
  return [
    { name: `${folder}/METADATA`, text: `Metadata-Version: 2.1\nName: ${name}\nVersion: 1.0.0\n` },
    { name: `${folder}/WHEEL`, text: "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n" },
    { name: `${folder}/RECORD`, text: "" },
  ];
}

test("install scripts do not run, and their packages are named", { timeout: 60_000 }, async () => {
  const scripts = { preinstall: "echo ran > ran-pre", install: "echo ran > ran", postinstall: "echo ran > ran-post" };
  registry.npm({ name: "scripted", scripts, hasInstallScript: true }, tarball([manifestOf({ name: "scripted", scripts })]));
  await using installer = bench.installer({}, registry);
  const installed = await installer.resolveAndInstall(
    "node",
    packageJson({ scripted: "1" }, { scripts: { preinstall: "echo ran > root-ran" } }),
  );
  expect(installed.skippedScripts).toEqual(["scripted"]);
  expect(await readdir(join(installed.directory, "node_modules/scripted"))).toEqual(["package.json"]);
});

test("allowed scripts run without network and without the operator's credentials", { timeout: 60_000 }, async () => {
  const look = [
    `fetch("${registry.url}/from-script").then((r) => "reached " + r.status, () => "no network")`,
    `Promise.resolve(require("fs").readdirSync("/config").join() || "no configuration")`,
    `Promise.resolve(Object.keys(process.env).filter((n) => /proxy/i.test(n) && process.env[n]).join() || "no proxy")`,
  ].join(", ");
  const script = `Promise.all([${look}]).then((seen) => require("fs").writeFileSync("seen.json", JSON.stringify(seen)))`;
  const scripts = { postinstall: "node look.js && echo done > done.txt" };
  registry.npm(
    { name: "scripted", scripts, hasInstallScript: true },
    tarball([manifestOf({ name: "scripted", scripts }), { name: "package/look.js", text: script }]),
  );
  await using installer = bench.installer({ allowScripts: true }, registry, {
    [`npm_config_//127.0.0.1:${registry.port}/:_authToken`]: "hush-token",
  });
  const installed = await installer.resolveAndInstall("node", packageJson({ scripted: "1" }));
  const folder = join(installed.directory, "node_modules/scripted");
  expect(await readFile(join(folder, "done.txt"), "utf8")).toBe("done\n");
  expect(JSON.parse(await readFile(join(folder, "seen.json"), "utf8"))).toEqual(["no network", "no configuration", "no proxy"]);
  expect(installed.skippedScripts).toEqual([]);
  expect(registry.requests.map(({ path }) => path)).not.toContain("/from-script");
});

test("the operator's token goes to the registry and into no log", { timeout: 60_000 }, async () => {
  registry.npm({ name: "plain" }, tarball([manifestOf({ name: "plain" })]));
  await using installer = bench.installer({}, registry, {
    [`npm_config_//127.0.0.1:${registry.port}/:_authToken`]: "hush-token",
  });
  let log = "";
  await installer.resolveAndInstall("node", packageJson({ plain: "1" }), { onState: (state) => (log = state.log) });
  expect(new Set(registry.requests.map(({ authorization }) => authorization))).toEqual(new Set(["Bearer hush-token"]));
  expect(log).not.toContain("hush-token");
});

test("an archive cannot write outside of its package", { timeout: 60_000 }, async () => {
  const archive = tarball([
    manifestOf({ name: "climber" }),
    { name: "package/../../../../../climbed", text: "x" },
    { name: "/install/climbed", text: "x" },
    { name: "package/way", link: "/install" },
    { name: "package/way/climbed", text: "x" },
    { name: "package/index.js", text: "1", mode: 0o4777 },
  ]);
  registry.npm({ name: "climber" }, archive);
  await using installer = bench.installer({}, registry);
  const installed = await installer.resolveAndInstall("node", packageJson({ climber: "1" }));
  const found = await readdir(installed.directory, { recursive: true });
  const packageFolder = "node_modules/climber";
  expect(found.filter((path) => path.includes("climbed") && !path.startsWith(packageFolder))).toEqual([]);
  expect((await stat(join(installed.directory, packageFolder, "index.js"))).mode & 0o7000).toBe(0);
});

test("a link out of the folder, made by a script, fails the installation", { timeout: 60_000 }, async () => {
  const scripts = { postinstall: "ln -s /etc/passwd way-out" };
  registry.npm({ name: "linker", scripts, hasInstallScript: true }, tarball([manifestOf({ name: "linker", scripts })]));
  await using installer = bench.installer({ allowScripts: true }, registry);
  const { code, message } = await failure(installer.resolveAndInstall("node", packageJson({ linker: "1" })));
  expect([code, message]).toEqual([
    "INSTALL_FAILED",
    'The packages contain a link "linker/way-out" that leads out of their folder.',
  ]);
});

test("a script that puts a host folder's name in place of its own gets nothing moved", { timeout: 60_000 }, async () => {
  const scripts = { postinstall: "rm -rf /install/project && ln -s /etc /install/project" };
  registry.npm({ name: "swapper", scripts, hasInstallScript: true }, tarball([manifestOf({ name: "swapper", scripts })]));
  await using installer = bench.installer({ allowScripts: true }, registry);
  const { code } = await failure(installer.resolveAndInstall("node", packageJson({ swapper: "1" })));
  expect(code).toBe("INSTALL_FAILED");
});

test("content that is not what was locked is refused", { timeout: 60_000 }, async () => {
  registry.npm({ name: "liar" }, tarball([manifestOf({ name: "liar" })]), {
    integrity: `sha512-${Buffer.alloc(64).toString("base64")}`,
  });
  registry.python("liar", "liar-1.0.0-py3-none-any.whl", zip([{ name: "liar.py", text: "1" }, ...wheelMetadata("liar")]), {
    digest: "0".repeat(64),
  });
  await using installer = bench.installer({}, registry);
  const node = await failure(installer.resolveAndInstall("node", packageJson({ liar: "1" })));
  expect(node.message).toBe("The registry served a package whose content does not have the hash that was locked.");
  const python = await failure(installer.resolveAndInstall("python", { "requirements.txt": "liar" }));
  expect(python.message).toBe("The index served a file that does not have the hash that was locked.");
});

test("nothing is fetched from another server than the registry", { timeout: 90_000 }, async () => {
  await using other = await PackageServer.start();
  const archive = tarball([manifestOf({ name: "elsewhere" })]);
  other.serve("/elsewhere.tgz", archive);
  registry.npm({ name: "elsewhere" }, archive, { tarball: `${other.url}/elsewhere.tgz` });
  registry.npm({ name: "redirected" }, archive);
  registry.serve("/redirected/-/package-1.0.0.tgz", (_request, response) =>
    response.writeHead(302, { location: `${other.url}/elsewhere.tgz` }).end(),
  );
  const wheel = zip([{ name: "elsewhere.py", text: "1" }, ...wheelMetadata("elsewhere")]);
  other.serve("/elsewhere-1.0.0-py3-none-any.whl", wheel);
  registry.python("elsewhere", "elsewhere-1.0.0-py3-none-any.whl", wheel, {
    address: `${other.url}/elsewhere-1.0.0-py3-none-any.whl`,
  });
  await using installer = bench.installer({}, registry);
  const outcomes = await Promise.all([
    failure(installer.resolveAndInstall("node", packageJson({ elsewhere: "1" }))),
    failure(installer.resolveAndInstall("node", packageJson({ redirected: "1" }))),
    failure(installer.resolveAndInstall("python", { "requirements.txt": "elsewhere" })),
  ]);
  expect(outcomes.map(({ message }) => message)).toEqual([
    "A package would come from a server that is not the registry.",
    "A package would come from a server that is not the registry.",
    "A package would come from a server that is not the index.",
  ]);
  expect(other.requests).toEqual([]);
  await using trusting = bench.installer({ trustedHosts: [`127.0.0.1:${other.port}`] }, registry);
  const installed = await trusting.resolveAndInstall("python", { "requirements.txt": "elsewhere==1.0.0" });
  expect(installed.packages).toEqual([{ name: "elsewhere", version: "1.0.0" }]);
});

test("dependencies of dependencies are held to the same rules", { timeout: 90_000 }, async () => {
  const empty = (name: string) => tarball([manifestOf({ name })]);
  registry.npm({ name: "asks-git", dependencies: { x: "git+https://code.invalid/x.git" } }, empty("asks-git"));
  registry.npm(
    { name: "asks-remote", dependencies: { x: `${registry.url}/asks-git/-/package-1.0.0.tgz` } },
    empty("asks-remote"),
  );
  registry.npm({ name: "asks-file", dependencies: { x: "file:/etc" } }, empty("asks-file"));
  registry.npm({ name: "asks-alias", dependencies: { x: "npm:denied@1" } }, empty("asks-alias"));
  registry.npm({ name: "asks-denied", dependencies: { denied: "1" } }, empty("asks-denied"));
  registry.npm({ name: "denied" }, empty("denied"));
  await using installer = bench.installer({ deny: ["den*"] }, registry);
  const messages: Record<string, string> = {};
  for (const name of ["asks-git", "asks-remote", "asks-file", "asks-alias", "asks-denied", "denied"]) {
    messages[name] = (await failure(installer.resolveAndInstall("node", packageJson({ [name]: "1" })))).message;
  }
  const address = "A package depends on an address or a file; only packages of the registry can be installed.";
  expect(messages).toEqual({
    "asks-git": address,
    "asks-remote": address,
    "asks-file": address,
    "asks-alias": 'package-lock.json makes "x" an alias of "denied"; aliases cannot be installed.',
    "asks-denied": `The operator's list denies the package "denied".`,
    denied: `The operator's list denies the package "denied".`,
  });
});

test("Python: a source distribution is not built, and an archive cannot climb", { timeout: 90_000 }, async () => {
  const build = `import os, socket
def get_requires_for_build_wheel(config=None): return []
def prepare_metadata_for_build_wheel(folder, config=None): raise SystemExit("built")
def build_wheel(folder, config=None, metadata=None): raise SystemExit("built")
`;
  const pyproject =
    '[project]\nname = "sourced"\nversion = "1.0.0"\n[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n';
  const source = tarball([
    { name: "sourced-1.0.0/pyproject.toml", text: pyproject },
    { name: "sourced-1.0.0/backend.py", text: build },
    { name: "sourced-1.0.0/PKG-INFO", text: "Metadata-Version: 2.1\nName: sourced\nVersion: 1.0.0\n" },
  ]);
  registry.python("sourced", "sourced-1.0.0.tar.gz", source);
  registry.python(
    "climber",
    "climber-1.0.0-py3-none-any.whl",
    zip([{ name: "../../climbed.py", text: "1" }, { name: "climber.py", text: "1" }, ...wheelMetadata("climber")]),
  );
  await using installer = bench.installer({}, registry);
  const sourced = await failure(installer.resolveAndInstall("python", { "requirements.txt": "sourced" }));
  expect(sourced.message).toBe('"sourced" needs a build step, and install scripts are off.');
  expect(sourced.details.log).not.toContain("built");
  await installer.resolveAndInstall("python", { "requirements.txt": "climber" }).catch(() => null);
  const found = await readdir(bench.folder, { recursive: true });
  expect(found.filter((path) => path.includes("climbed"))).toEqual([]);

  await using building = bench.installer({ allowScripts: true }, registry);
  const built = await failure(building.resolveAndInstall("python", { "requirements.txt": "sourced" }));
  expect(built.details.log).toContain("built");
});

test("limits of time, memory and disk end an installation", { timeout: 90_000 }, async () => {
  registry.serve("/slow", () => {});
  const scripts = {
    postinstall: `node -e "for (let i = 0; i < 3000; i++) require('fs').appendFileSync('fill', Buffer.alloc(1e6))"`,
  };
  registry.npm({ name: "filler", scripts, hasInstallScript: true }, tarball([manifestOf({ name: "filler", scripts })]));
  const memory = { postinstall: `node -e "const all = []; for (;;) all.push(Buffer.alloc(1e7, 1))"` };
  registry.npm(
    { name: "eater", scripts: memory, hasInstallScript: true },
    tarball([manifestOf({ name: "eater", scripts: memory })]),
  );

  await using hasty = bench.installer({ timeoutMs: 4000 }, registry);
  expect((await failure(hasty.resolveAndInstall("node", packageJson({ slow: "1" })))).message).toBe(
    "The installation took longer than 4 seconds.",
  );
  await using small = bench.installer(
    { allowScripts: true, diskBytes: 64 * 1024 * 1024, memoryBytes: 256 * 1024 * 1024 },
    registry,
  );
  expect((await failure(small.resolveAndInstall("node", packageJson({ filler: "1" })))).message).toBe(
    "The packages take more than 64 MiB.",
  );
  expect((await failure(small.resolveAndInstall("node", packageJson({ eater: "1" })))).message).toBe(
    "The installation needed more than 256 MiB of memory.",
  );
});

test("a registry that is not there is named as the cause", { timeout: 60_000 }, async () => {
  await using gone = await PackageServer.start();
  const address = { url: gone.url };
  await gone[Symbol.asyncDispose]();
  await using installer = bench.installer({}, address);
  const outcomes = await Promise.all([
    failure(installer.resolveAndInstall("node", packageJson({ x: "1" }))),
    failure(installer.resolveAndInstall("python", { "requirements.txt": "x" })),
  ]);
  expect(outcomes.map(({ message }) => message)).toEqual(["The registry is not reachable.", "The index is not reachable."]);
});
