import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type CliServer, startCliServer } from "./cli-server.ts";

const EXAMPLES = join(import.meta.dirname, "..", "..", "..", "examples");
let server: CliServer;
let parent: string;
let count = 0;
beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), "treadle-deploy-test-"));
  server = await startCliServer();
}, 60_000);
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await rm(parent, { recursive: true, force: true });
});

/** A folder with these files. */
async function folder(files: Record<string, string>): Promise<string> {
  count += 1;
  const directory = join(parent, `d${count}`);
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await writeFile(join(directory, path), text);
  }
  return directory;
}

async function api<T>(path: string): Promise<T> {
  return (await (await fetch(`${server.url}/api/v1${path}`)).json()) as T;
}

/** The faults of a deployment that must be refused. */
async function refusal(files: Record<string, string>, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await server.treadle("deploy", await folder(files), ...args);
  expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
  return stderr;
}

test("deploys inline functions of two languages, tells versions and addresses, and counts versions up by change", async () => {
  const directory = join(parent, "greetings");
  await cp(join(EXAMPLES, "greetings"), directory, { recursive: true });
  const first = await server.treadle("deploy", directory);
  expect(first).toEqual({
    status: 0,
    stderr: "",
    stdout: [
      "workspace greetings",
      ...["hello", "mean", "shout"].map((name) => `  ${name}  version 1  ${server.url}/v2/functions/greetings/run/${name}`),
      "",
    ].join("\n"),
  });
  expect((await server.treadle("run", "greetings", "shout", "-p", 'names=["Ada"]')).stdout).toBe('[\n  "HELLO ADA!"\n]\n');
  expect((await server.treadle("run", "greetings", "mean", "-p", "numbers=[1,2,6]")).stdout).toContain('"median": 2');
  await writeFile(join(directory, "shout.js"), "return names.length;");
  const second = await server.treadle("deploy", directory, "--json");
  expect(JSON.parse(second.stdout)).toEqual({
    workspace: "greetings",
    functions: [
      { name: "hello", contract: "inline", version: 1, url: `${server.url}/v2/functions/greetings/run/hello` },
      { name: "mean", contract: "inline", version: 1, url: `${server.url}/v2/functions/greetings/run/mean` },
      { name: "shout", contract: "inline", version: 2, url: `${server.url}/v2/functions/greetings/run/shout` },
    ],
    dependencies: [],
  });
  expect((await server.treadle("deploy", directory, "--workspace", "other")).stdout).toContain("workspace other\n");
});

test("deploys a handler with a package from npm, and Python with one from its index", { timeout: 120_000 }, async () => {
  const markdown = await server.treadle("deploy", join(EXAMPLES, "markdown"));
  expect(markdown.stderr).toBe("");
  expect(markdown.stdout).toContain("  node packages  ready\n");
  const page = await server.treadle("run", "markdown", "page", "--path", "/?title=A%20%26%20B", "--body", "# Hi");
  expect(page.stdout).toBe("<!doctype html>\n<title>A &#38; B</title>\n<h1>Hi</h1>\n");
  const slugs = await server.treadle("deploy", join(EXAMPLES, "slugs"), "--json");
  expect(JSON.parse(slugs.stdout)).toMatchObject({ dependencies: [{ language: "python", status: "ready", inferred: [] }] });
  expect((await server.treadle("run", "slugs", "slug", "-p", "text=Straße & Café")).stdout).toBe("strasse-cafe\n");
});

test("replace removes what the folder does not name, merge keeps it", async () => {
  const yaml = (mode: string, name: string) => `workspace: modes\nmode: ${mode}\nfunctions:\n  ${name}: {code: return 1}\n`;
  const names = async () => (await api<{ functions: { name: string }[] }>("/workspaces/modes")).functions.map(({ name }) => name);
  await server.treadle("deploy", await folder({ "treadle.yaml": yaml("replace", "a") }));
  await server.treadle("deploy", await folder({ "treadle.yaml": yaml("merge", "b") }));
  expect(await names()).toEqual(["a", "b"]);
  await server.treadle("deploy", await folder({ "treadle.yaml": yaml("replace", "c") }));
  expect(await names()).toEqual(["c"]);
});

test("sends a folder's files, bytes too, without what is not source", async () => {
  const directory = await folder({
    "treadle.yaml": "workspace: files\nfunctions:\n  f: {source: .}\n",
    "index.js": "module.exports = () => 1;",
    "node_modules/x/index.js": "1",
    "lib/__pycache__/x.pyc": "1",
    ".git/HEAD": "1",
    "lib/a.js": "1",
  });
  await writeFile(join(directory, "lib/bytes"), Buffer.from([0xff, 0xfe, 0]));
  await symlink("lib/a.js", join(directory, "linked.js"));
  expect(await server.treadle("deploy", directory)).toMatchObject({ status: 0, stderr: "" });
  const { files } = await api<{ files: { path: string; base64?: string }[] }>("/workspaces/files/functions/f");
  expect(files.map(({ path }) => path)).toEqual(["index.js", "lib/a.js", "lib/bytes", "linked.js"]);
  expect(files[2]?.base64).toBe(Buffer.from([0xff, 0xfe, 0]).toString("base64"));
});

test("reads nothing outside of the folder", async () => {
  const secret = join(await folder({ secret: "s3cret" }), "secret");
  const yaml = "workspace: out\nfunctions:\n  f: {source: src}\n";
  const linked = await folder({ "treadle.yaml": yaml, "src/index.js": "1" });
  await symlink(secret, join(linked, "src/link"));
  expect((await server.treadle("deploy", linked)).stderr).toContain(
    "treadle.yaml:3:7: the link src/link leads out of the folder",
  );
  const upwards = await folder({ "treadle.yaml": yaml, "src/index.js": "1" });
  await symlink("..", join(upwards, "src/up"));
  expect((await server.treadle("deploy", upwards)).stderr).toContain("leads in a circle");
  const whole = await folder({ "treadle.yaml": yaml });
  await symlink(dirname(secret), join(whole, "src"));
  expect((await server.treadle("deploy", whole)).stderr).toContain("the link src leads out of the folder");
  expect(await refusal({ "treadle.yaml": "workspace: out\nfunctions:\n  f: {file: ../d1/secret}\n" })).toContain(
    "treadle.yaml:3:7: ../d1/secret lies outside of the folder",
  );
  expect(await refusal({ "treadle.yaml": "workspace: out\nfunctions:\n  f: {file: /etc/hostname}\n" })).toContain("lies outside");
});

test.each([
  ["no treadle.yaml and no workspace", { x: "" }, [], /Name the workspace/],
  ["not YAML", { "treadle.yaml": "functions:\n  a: [1\n" }, [], /treadle\.yaml:\d:\d: /],
  ["a name twice", { "treadle.yaml": "workspace: a\nworkspace: b\n" }, [], /treadle\.yaml:2:1: Map keys must be unique/],
  [
    "an unknown key",
    { "treadle.yaml": "workspace: a\nfunctions:\n  f:\n    cod: x\n" },
    [],
    /treadle\.yaml:4:5: functions\.f: there is no "cod" here/,
  ],
  [
    "a wrong type",
    { "treadle.yaml": "workspace: a\nfunctions:\n  f:\n    code: x\n    settings: {timeoutMs: soon}\n" },
    [],
    /treadle\.yaml:5:16: functions\.f\.settings\.timeoutMs: .*expected number/,
  ],
  [
    "code twice",
    { "treadle.yaml": "workspace: a\nfunctions:\n  f: {code: x, file: y.js}\n" },
    [],
    /treadle\.yaml:3:3: functions\.f: give one of "code"/,
  ],
  [
    "a file that is not there",
    { "treadle.yaml": "workspace: a\nfunctions:\n  f:\n    file: y.js\n" },
    [],
    /treadle\.yaml:4:5: y\.js does not exist/,
  ],
  ["no workspace", { "treadle.yaml": "functions: {}\n" }, [], /name the "workspace" here, or give --workspace/],
  [
    "a bomb of aliases",
    {
      "treadle.yaml": `a: &a [x,x,x,x,x,x,x,x,x]\n${"bcdefgh"
        .split("")
        .map((name, index) => `${name}: &${name} [${Array(9).fill(`*${"abcdefg"[index]}`).join(",")}]\n`)
        .join("")}`,
    },
    [],
    /treadle\.yaml/,
  ],
] as [string, Record<string, string>, string[], RegExp][])(
  "%s is refused with its place",
  async (_what, files, args, expected) => {
    const stderr = await refusal(files, ...args);
    expect(stderr).toMatch(/^treadle: INVALID_DEPLOYMENT: /);
    expect(stderr).toMatch(expected);
  },
);

test("a syntax error is told by file, line and column of the source", { timeout: 90_000 }, async () => {
  const inFile = await refusal({
    "treadle.yaml": "workspace: bad\nfunctions:\n  f: {file: f.js}\n  g: {code: return 1}\n",
    "f.js": "const a = {\n  b: 1\nreturn a;",
  });
  expect(inFile).toContain("treadle: SYNTAX_ERROR: f.js:3:1: Unexpected token 'return' (function f)\n");
  const inYaml = await refusal({
    "treadle.yaml": "workspace: bad\nfunctions:\n  f:\n    # a comment\n    code: |\n\n      const a = 1;\n      let = = 2;\n",
  });
  expect(inYaml).toContain("treadle.yaml:8:13: ");
  const quoted = await refusal({ "treadle.yaml": 'workspace: bad\nfunctions:\n  f:\n    code: "let = = 2"\n' });
  expect(quoted).toContain("treadle.yaml:4:5 (line 1, column 7 of the code): ");
  const handler = await refusal({
    "treadle.yaml": "workspace: bad\nfunctions:\n  f: {source: src/}\n",
    "src/index.js": "module.exports = (c) =>\n  { return c.res.text('x' };",
  });
  expect(handler).toMatch(/SYNTAX_ERROR: src\/index\.js:2:\d+: .* \(function f\)/);
  const python = await refusal({
    "treadle.yaml": "workspace: bad\nfunctions:\n  f: {language: python, file: f.py}\n",
    "f.py": "x = 1\nif x\n  return 2\n",
  });
  expect(python).toMatch(/SYNTAX_ERROR: f\.py:2:\d+: .* \(function f\)/);
  expect(await api("/workspaces/bad")).toMatchObject({ error: { code: "UNKNOWN_WORKSPACE" } });
});

test("a bad schema is told at its function", async () => {
  const stderr = await refusal({
    "treadle.yaml": "workspace: bad\nfunctions:\n  f:\n    code: return 1\n    parameters: {a: {type: wrong}}\n",
  });
  expect(stderr).toMatch(/^treadle: INVALID_SCHEMA: treadle\.yaml:3:3: The parameter schema of f is not valid/);
});

test("a refused deployment changes nothing, dependencies included", { timeout: 90_000 }, async () => {
  const yaml = "workspace: undo\nfunctions:\n  f: {file: f.js}\ndependencies:\n  node: package.json\n";
  const broken = { "treadle.yaml": yaml, "f.js": "let = = 1", "package.json": '{"dependencies":{"is-odd":"3.0.1"}}' };
  expect(await refusal(broken)).toContain("SYNTAX_ERROR: f.js:1:");
  expect(await api("/workspaces/undo")).toMatchObject({ error: { code: "UNKNOWN_WORKSPACE" } });
  const sound = { ...broken, "f.js": "return 1", "package.json": '{"dependencies":{}}' };
  expect(await server.treadle("deploy", await folder(sound))).toMatchObject({ status: 0, stderr: "" });
  expect(await refusal(broken)).toContain("SYNTAX_ERROR: f.js:1:");
  const { files } = await api<{ files: Record<string, string> }>("/workspaces/undo/dependencies/node");
  expect(files).toEqual({ "package.json": '{"dependencies":{}}' });
});

test("a package that cannot be installed is told with the cause", { timeout: 120_000 }, async () => {
  const files = {
    "treadle.yaml": "workspace: nopackage\nfunctions:\n  f: {code: return 1}\ndependencies:\n  node: package.json\n",
    "package.json": '{"dependencies":{"left-pad":"999.0.0"}}',
  };
  const stderr = await refusal(files);
  expect(stderr).toMatch(/^treadle: INSTALL_FAILED: The functions are saved, but their node packages could not be installed: /);
  expect(stderr).toContain("left-pad");
  const denied = await refusal({ ...files, "package.json": '{"dependencies":{"x":"git+https://example.com/x.git"}}' });
  expect(denied).toMatch(/^treadle: INSTALL_FAILED: /);
});
