import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { expect, test } from "vitest";
import { inferManifest } from "../src/dependencies/index.ts";
import { LiveLog } from "../src/dependencies/live-log.ts";
import { parseNpmrc, readNpmConfiguration } from "../src/dependencies/node/npm-configuration.ts";
import { readPackageJson } from "../src/dependencies/node/package-json.ts";
import { readPackageLock } from "../src/dependencies/node/package-lock.ts";
import { packagePolicy } from "../src/dependencies/package-policy.ts";
import { parsePipConfiguration, readIndexConfiguration } from "../src/dependencies/python/index-configuration.ts";
import { readPyproject } from "../src/dependencies/python/pyproject.ts";
import { readPythonLock } from "../src/dependencies/python/python-lock.ts";
import { normalizePythonName } from "../src/dependencies/python/python-names.ts";
import { readRequirements } from "../src/dependencies/python/requirements.ts";

const anything = () => {};

test.each([
  "../x",
  "./x",
  "/etc",
  ".hidden",
  "_x",
  "a/b",
  "@a/b/c",
  "@a",
  "a b",
  "a\0b",
  "a\nb",
  "node_modules",
  "__proto__",
  "x@1",
  "x".repeat(215),
  "",
  "\ud800",
  "ä",
  "%2e%2e",
])("no npm package is named %j", (name) => {
  const text = JSON.stringify({ dependencies: { [name]: "1" } }).replace(
    '{"dependencies":{}}',
    `{"dependencies":{"__proto__":"1"}}`,
  );
  expect(() => readPackageJson(text, anything)).toThrow(/is not the name of an npm package/);
});

test.each([
  "git+https://a.example/x.git",
  "git://a.example/x",
  "github:a/b",
  "a/b",
  "a/b#main",
  "https://a.example/x.tgz",
  "http:x",
  "file:../x",
  "../x",
  "..",
  ".",
  "~/x",
  "/x",
  "x.tgz",
  "x.tar.gz",
  "link:../x",
  "workspace:*",
  "npm:other@1",
  "portal:x",
  "1 \0",
  "C:\\x",
  "x".repeat(300),
  1,
  null,
  {},
])("no registry resolves %j", (specifier) => {
  expect(() => readPackageJson(JSON.stringify({ dependencies: { x: specifier } }), anything)).toThrow(
    /only versions, ranges and tags of the registry/,
  );
  // An object is no specifier, but overrides nest.
  if (isDeepStrictEqual(specifier, {})) return;
  expect(() => readPackageJson(JSON.stringify({ overrides: { x: specifier } }), anything)).toThrow(/overrides/);
});

test("what npm can install passes, and nothing but that", () => {
  const specifiers = ["1", "^1.2.3-beta.1+x", ">=1 <2 || ~3.0", "1.x", "*", "", "latest", "next-11", "1.0.0 - 2.0.0"];
  const dependencies = Object.fromEntries(specifiers.map((specifier, index) => [`@scope/p-${index}.x_y`, specifier]));
  const manifest = readPackageJson(
    JSON.stringify({
      name: "x",
      scripts: { postinstall: "x" },
      config: {},
      dependencies,
      overrides: { a: { ".": "1", "b@^2": "$c" } },
    }),
    anything,
  );
  expect(manifest).toEqual({ dependencies, overrides: { a: { ".": "1", "b@^2": "$c" } } });
  expect(() => readPackageJson('{"workspaces":["a"]}', anything)).toThrow(/workspaces/);
  expect(() => readPackageJson("[]", anything)).toThrow(/not a JSON object/);
  expect(() => readPackageJson('{"dependencies":["x"]}', anything)).toThrow(/not an object/);
  expect(() => readPackageJson("{", anything)).toThrow(/not JSON/);
});

/** A lock with one package, changed. */
const lockWith = (entry: object, path = "node_modules/x") =>
  JSON.stringify({
    lockfileVersion: 3,
    packages: { "": { dependencies: { x: "1" } }, [path]: { version: "1.0.0", integrity: "sha512-x", ...entry } },
  });

test("a lock that leads elsewhere is refused", () => {
  const read = (text: string) => readPackageLock(text, ["registry.example", "registry.example:8443"], anything);
  for (const resolved of [
    "https://registry.example/x/-/x-1.0.0.tgz",
    "https://registry.example:8443/x.tgz",
    "https://registry.npmjs.org/x/-/x-1.0.0.tgz",
  ]) {
    const lock = read(lockWith({ resolved }));
    expect(lock.packages).toEqual([{ name: "x", version: "1.0.0" }]);
    expect(lock.text).not.toContain("http");
  }
  for (const resolved of [
    "https://evil.example/x.tgz",
    "https://registry.example.evil.example/x",
    "https://registry.example@evil.example/x",
    "https://registry.example:1/x",
    "git+ssh://git@registry.example/x.git#1",
    "file:../x",
    "file:///etc",
    "../x",
    7,
    false,
  ]) {
    expect(() => read(lockWith({ resolved }))).toThrow(/which is not the registry/);
  }
  expect(() => read(lockWith({ link: true, resolved: "packages/x" }))).toThrow(/a link/);
  expect(() => read(lockWith({ name: "other" }))).toThrow(/alias/);
  for (const version of ["https://evil.example/x.tgz", "file:x", "latest", "1", "", 1])
    expect(() => read(lockWith({ version }))).toThrow(/version/);
  for (const path of [
    "packages/x",
    "../x",
    "node_modules/../x",
    "node_modules/x/../../y",
    "x/node_modules/y",
    "node_modules/",
    "/node_modules/x",
    "node_modules/.bin",
  ]) {
    expect(() => read(lockWith({}, path))).toThrow(/no place for a package/);
  }
  expect(() => read('{"lockfileVersion":1,"dependencies":{}}')).toThrow(/version 2 or 3/);
  expect(() => read('{"lockfileVersion":3}')).toThrow(/no "packages"/);
  expect(() =>
    readPackageLock(
      lockWith({}),
      [],
      packagePolicy({ allow: null, deny: ["x"] }, (name) => name),
    ),
  ).toThrow(/denies the package "x"/);
});

test("the operator's lists know patterns", () => {
  const policy = packagePolicy({ allow: ["@acme/*", "left-*", "py.yaml"], deny: ["*-evil"] }, normalizePythonName);
  for (const name of ["@acme/x", "left-pad", "left_pad", "Py-YAML"]) policy(name);
  for (const name of ["@acme/so-evil", "left-evil"]) expect(() => policy(name)).toThrow(/denies/);
  for (const name of ["right-pad", "@acmex/y", "leftpad"]) expect(() => policy(name)).toThrow(/not on the operator's list/);
  const start = performance.now();
  expect(() => packagePolicy({ allow: ["*a*a*a*a*a*a*b".repeat(3)], deny: [] }, (name) => name)("a".repeat(214))).toThrow();
  expect(performance.now() - start).toBeLessThan(1000);
});

test.each([
  "../x",
  "./x",
  "/x",
  "-e .",
  "-r other.txt",
  "--index-url https://evil.example",
  "--find-links /",
  "-c x",
  "x @ https://evil.example/x.whl",
  "x@git+https://evil.example/x",
  "git+https://evil.example/x",
  "https://evil.example/x.whl",
  "file:///etc",
  "x.whl/y",
  "x ; python_version < '3' @ https://evil.example",
  "x ==1 --global-option=y",
  "x[a] @ file:///x",
  "_x",
  "x==1; {evil}",
])("no requirement is %j", (line) => {
  expect(() => readRequirements(`${line}\n`, anything)).toThrow(/only .* of the index can be installed/);
});

test("requirements are read as pip would", () => {
  const text = `\ufeff# comment
six
Requests[security, socks] >=2.0,<3 ; python_version >= "3.8" and sys_platform == 'linux'  # why
numpy (==1.26.*)
x==1.0 \\
    --hash=sha256:ab12 \\
    --hash=sha256:cd34
`;
  expect(readRequirements(text, anything)).toEqual([
    { name: "six", line: "six", hashes: [] },
    {
      name: "Requests",
      line: `Requests[security, socks]>=2.0,<3 ; python_version >= "3.8" and sys_platform == 'linux'`,
      hashes: [],
    },
    { name: "numpy", line: "numpy==1.26.*", hashes: [] },
    { name: "x", line: "x==1.0", hashes: ["sha256:ab12", "sha256:cd34"] },
  ]);
  const deny = packagePolicy({ allow: null, deny: ["evil-pkg"] }, normalizePythonName);
  expect(() => readRequirements("Evil_Pkg", deny)).toThrow(/denies/);
});

test("of a pyproject.toml only plain dependencies count", () => {
  const project = (rest: string) => `[project]\nname = "x"\n${rest}`;
  expect(readPyproject(project('dependencies = ["six>=1"]'), anything).map(({ line }) => line)).toEqual(["six>=1"]);
  expect(readPyproject("", anything)).toEqual([]);
  expect(() => readPyproject(project('dependencies = ["x @ file:///etc"]'), anything)).toThrow(/only/);
  expect(() => readPyproject(project('dynamic = ["dependencies"]'), anything)).toThrow(/computes/);
  expect(() => readPyproject(project('dependencies = "six"'), anything)).toThrow(/not a list/);
  expect(() => readPyproject(`${project("")}\n[tool.uv.sources]\nsix = { path = "/etc" }`, anything)).toThrow(/sources/);
  expect(() => readPyproject("[", anything)).toThrow(/not TOML/);
});

test("a Python lock has versions and hashes, nothing else", () => {
  const lock = readPythonLock("six==1.0 ; python_version < '4' \\\n    --hash=sha256:bb \\\n    --hash=sha256:aa\n", anything);
  expect(lock.text).toBe("six==1.0 ; python_version < '4' \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n");
  expect(readPythonLock(lock.text, anything)).toEqual(lock);
  for (const line of [
    "six @ git+https://evil.example/x --hash=sha256:aa",
    "-e .",
    "--index-url https://evil.example",
    "six>=1 --hash=sha256:aa",
    "../x==1 --hash=sha256:aa",
  ]) {
    expect(() => readPythonLock(line, anything)).toThrow(/only packages of the index/);
  }
  expect(() => readPythonLock("six==1.0", anything)).toThrow(/no hash/);
});

test("packages are inferred from imports, visibly", () => {
  const node = inferManifest(
    "node",
    ["left-pad", "node:fs", "fs", "@a/b", "../x", "is-odd", "left-pad"],
    packageJson({ "is-odd": "^3" }),
  );
  expect(node.inferred).toEqual(["@a/b", "left-pad"]);
  expect(JSON.parse(node.files["package.json"] ?? "")).toEqual({
    dependencies: { "is-odd": "^3", "left-pad": "*", "@a/b": "*" },
  });
  const python = inferManifest(
    "python",
    ["yaml", "cv2", "PIL", "sklearn", "bs4", "dateutil", "six", "__proto__", "constructor", "../x"],
    {
      "requirements.txt": "opencv_python==4\nSIX",
    },
  );
  expect(python.inferred).toEqual(["Pillow", "PyYAML", "beautifulsoup4", "constructor", "python-dateutil", "scikit-learn"]);
  expect(python.files["requirements.txt"]).toBe(`opencv_python==4\nSIX\n${python.inferred.join("\n")}\n`);
  const nothing = { "pyproject.toml": '[project]\ndependencies = ["PyYAML"]' };
  expect(inferManifest("python", ["yaml"], nothing)).toEqual({ files: nothing, inferred: [] });
});

function packageJson(dependencies: Record<string, string>) {
  return { "package.json": JSON.stringify({ dependencies }) };
}

test("the operator's npm configuration is carried over: registry, scopes, credentials, certificates", async () => {
  const home = await mkdtemp(join(tmpdir(), "treadle-npmrc-"));
  try {
    await writeFile(join(home, "ca.pem"), "certificate");
    await writeFile(
      join(home, ".npmrc"),
      `registry=https://npm.example/all/\n@acme:registry = "http://acme.example:8081/"\n//npm.example/all/:_authToken=\${TOKEN}\n; note\n# note\ncafile=${home}/ca.pem\nscript-shell=/bin/evil\nprefix=/\n`,
    );
    const access = await readNpmConfiguration(
      { HOME: home, TOKEN: "s3;cret#", PATH: "/nonexistent", npm_config_fetch_retries: "1" },
      "/config",
    );
    const npmrc = access.files.find(({ name }) => name === "npmrc")?.content;
    expect(npmrc).toBe(
      'registry=https://npm.example/all/\n@acme:registry=http://acme.example:8081/\n//npm.example/all/:_authToken="s3;cret#"\nfetch-retries=1\n',
    );
    expect(access).toMatchObject({
      hosts: ["npm.example", "acme.example:8081"],
      trusted: ["npm.example:443", "acme.example:8081"],
      secrets: ["s3;cret#"],
      environment: { npm_config_cafile: "/config/certificate-0.pem" },
    });
    expect(access.files[0]).toEqual({ name: "certificate-0.pem", content: "certificate" });
    const overridden = await readNpmConfiguration(
      { HOME: home, PATH: "/nonexistent", NPM_CONFIG_REGISTRY: "https://other.example/" },
      "/config",
    );
    expect(overridden.trusted[0]).toBe("other.example:443");
    await expect(
      readNpmConfiguration({ HOME: home, PATH: "/nonexistent", NPM_CONFIG_REGISTRY: "ftp://x" }, "/config"),
    ).rejects.toThrow(/not an http or https URL/);
  } finally {
    await rm(home, { recursive: true });
  }
  expect(parseNpmrc(`a = 'b'\nc=\${X?}\${Y}`, {})).toEqual([
    ["a", "b"],
    ["c", `\${Y}`],
  ]);
});

test("the operator's index configuration is carried over: indexes, folders of packages, certificates", async () => {
  const folder = await mkdtemp(join(tmpdir(), "treadle-pip-"));
  try {
    await writeFile(join(folder, "ca.pem"), "certificate");
    const environment = {
      PATH: "/nonexistent",
      PIP_INDEX_URL: "https://me:p4ss@py.example/simple",
      PIP_EXTRA_INDEX_URL: "https://more.example:444/s",
      PIP_FIND_LINKS: `${folder} /nonexistent`,
      PIP_CERT: `${folder}/ca.pem`,
    };
    const access = await readIndexConfiguration(environment, "/config");
    expect(access).toEqual({
      files: [{ name: "certificates.pem", content: "certificate" }],
      mounts: [{ source: folder, target: "/find-links/0", access: "read-only" }],
      hosts: ["py.example", "more.example:444"],
      trusted: ["py.example:443", "more.example:444"],
      secrets: ["p4ss"],
      environment: {
        UV_DEFAULT_INDEX: "https://me:p4ss@py.example/simple",
        UV_INDEX: "https://more.example:444/s",
        UV_FIND_LINKS: "/find-links/0",
        SSL_CERT_FILE: "/config/certificates.pem",
      },
    });
    const uv = await readIndexConfiguration({ ...environment, UV_DEFAULT_INDEX: "https://uv.example/simple" }, "/config");
    expect(uv.trusted[0]).toBe("uv.example:443");
  } finally {
    await rm(folder, { recursive: true });
  }
  const listed = parsePipConfiguration(
    `:env:.find-links='/c'\nglobal.find-links='/a'\nglobal.extra-index-url='https://a\\nhttps://b'\ninstall.find-links='/b'\nfreeze.find-links='/d'\n`,
  );
  expect(Object.fromEntries(listed)).toEqual({ "find-links": "/c", "extra-index-url": "https://a\nhttps://b" });
});

test("an install log is safe to show and bounded", () => {
  const log = new LiveLog(() => {});
  log.hide(["s3cret"]);
  log.write("stdout", "one s3c");
  log.write("stderr", "other\n");
  log.write("stdout", "ret \x1b[31mred\x1b[0m \x07\r\ntwo");
  log.line("end");
  expect(log.text).toBe("other\none *** red \ntwo\nend\n");
  for (let i = 0; i < 200; i++) log.write("stdout", "x".repeat(1000));
  log.line("last");
  expect(log.text.length).toBeLessThanOrEqual(64 * 1024);
  expect(log.text.endsWith("last\n")).toBe(true);
});
