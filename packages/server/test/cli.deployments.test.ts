import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type CliServer, ownEnvironment, runTreadle, startCliServer } from "./cli-server.ts";

// Every command is a process of its own, and the machine may be busy.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 60_000 });

const LANGUAGES = join(import.meta.dirname, "..", "..", "runtimes");
let server: CliServer;
let parent: string;
let count = 0;
beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), "treadle-cli-deployments-"));
  server = await startCliServer();
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await rm(parent, { recursive: true, force: true });
});

const answering = (text: string) => `module.exports = async ({ res }) => res.text(${JSON.stringify(text)});\n`;

/** A folder with these files, of this name. */
async function folder(files: Readonly<Record<string, string>>, name = "greeter"): Promise<string> {
  count += 1;
  const directory = join(parent, String(count), name);
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await writeFile(join(directory, path), text);
  }
  return directory;
}

const fresh = () => `w${++count}`;
const json = (text: string) => JSON.parse(text) as Record<string, unknown>;

async function deploy(...args: string[]): Promise<Record<string, unknown>> {
  const { status, stdout, stderr } = await server.treadle("deploy", ...args, "--json");
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return json(stdout);
}

test.each(["node", "python"])("the example of %s is deployed and answers", async (language) => {
  const workspace = fresh();
  const made = await deploy(join(LANGUAGES, language, "example"), "--workspace", workspace);
  expect(made).toEqual({
    workspace,
    function: `hello-${language}`,
    deployment: `hello-${language}@1`,
    version: 1,
    state: "ready",
    active: true,
    url: `${server.url}/f/${workspace}/hello-${language}/`,
    durationMs: expect.any(Number),
  });
  const response = await fetch(made.url as string);
  expect([response.status, await response.json()]).toEqual([200, expect.objectContaining({ language })]);
});

test("a folder without treadle.yaml is told by its files and named after itself; what is made anew is left out", async () => {
  const workspace = fresh();
  const directory = await folder({
    "index.js": answering("hello"),
    "node_modules/x/index.js": "1",
    ".git/config": "[core]",
    "target/a": "a",
    "notes/secret.txt": "s",
    "empty.txt": "",
    ".treadleignore": "# not for others\nnotes/\n",
  });
  await symlink("index.js", join(directory, "link.js"));
  const first = await server.treadle("deploy", directory, "-w", workspace);
  expect(first.status, first.stderr).toBe(0);
  expect(first.stdout).toBe(`workspace ${workspace}\n  greeter  version 1  ${server.url}/f/${workspace}/greeter/\n`);
  expect(await (await fetch(`${server.url}/f/${workspace}/greeter/`)).text()).toBe("hello");
  await writeFile(join(directory, "index.js"), answering("hello again"));
  await deploy(directory, "-w", workspace, "--no-activate");
  const difference = await server.treadle("diff", "greeter", "1", "latest", "-w", workspace, "--json");
  expect(
    difference.stdout
      .trim()
      .split("\n")
      .map((line) => json(line).path),
  ).toEqual(["index.js"]);
  const empty = await folder({ "main.py": "def main(context):\n    return context.res.empty()\n" }, "greeter");
  await deploy(empty, "-w", workspace, "--no-activate");
  const all = await server.treadle("diff", "greeter", "1", "3", "-w", workspace);
  expect(all.stdout.match(/^(added|removed|changed) .*$/gm)?.sort()).toEqual([
    "added main.py",
    ...["removed .treadleignore", "removed empty.txt", "removed index.js"],
  ]);
});

test("an archive is deployed; what fails says why, with the end of the build's log", async () => {
  const workspace = fresh();
  const directory = await folder({ "index.js": answering("packed"), "treadle.yaml": "function: other\nlanguage: node\n" });
  const archive = join(parent, "packed.tgz");
  await promisify(execFile)("tar", ["-czf", archive, "-C", directory, "."]);
  expect(await deploy(archive, "--workspace", workspace)).toMatchObject({ function: "packed", version: 1 });
  const failing = await folder({ "index.js": "", "treadle.yaml": "function: f\ncommand: 'echo what went wrong; exit 7'\n" });
  const quiet = await server.treadle("deploy", failing, "-w", workspace, "--json");
  expect([quiet.status, quiet.stdout]).toEqual([1, ""]);
  expect(json(quiet.stderr).error).toMatchObject({ code: "BUILD_FAILED", message: expect.stringContaining("what went wrong") });
  const loud = await server.treadle("deploy", failing, "-w", workspace);
  expect(loud.stderr).toMatch(/what went wrong[\s\S]*treadle: BUILD_FAILED/);
  const broken = await folder({ "index.js": "module.exports = (", "treadle.yaml": "function: f\nlanguage: node\n" });
  expect((await server.treadle("deploy", broken, "-w", workspace)).stderr).toMatch(
    /treadle: (SYNTAX_ERROR|LOAD_FAILED): Version 3 is built/,
  );
  for (const [target, code] of [
    [join(parent, "none"), "INVALID_DEPLOYMENT"],
    [await folder({ "readme.txt": "" }), "BAD_REQUEST"],
    [await folder({ "index.js": "", "treadle.yaml": "function: [x]\n" }), "INVALID_DEPLOYMENT"],
  ] as const)
    expect((await server.treadle("deploy", target, "-w", workspace)).stderr, target).toContain(`treadle: ${code}: `);
  expect((await server.treadle("deploy", directory)).stderr).toContain("INVALID_DEPLOYMENT: Name the workspace");
});

test("versions are listed, activated, rolled back and named", async () => {
  const workspace = fresh();
  for (const text of ["one", "two", "three"]) {
    await deploy(await folder({ "index.js": answering(text), "treadle.yaml": `function: f\nworkspace: ${workspace}\n` }));
  }
  const called = async (reference: string) => (await fetch(`${server.url}/f/${workspace}/${reference}`)).text();
  const listed = await server.treadle("deployments", "f", "-w", workspace);
  expect(listed.stdout.split("\n").map((line) => line.slice(0, 6))).toEqual(["*    3", "     2", "     1", ""]);
  expect((await server.treadle("rollback", "f", "-w", workspace)).stdout).toBe("f  version 2 is active\n");
  expect(await called("f")).toBe("two");
  expect((await server.treadle("alias", "set", "f", "stable", "1", "-w", workspace)).stdout).toBe("f@stable is version 1\n");
  expect(await called("f@stable")).toBe("one");
  const activated = await server.treadle("activate", "f@stable", "-w", workspace, "--json");
  expect(json(activated.stdout)).toMatchObject({ version: 1, active: true, aliases: ["stable"] });
  expect((await server.treadle("alias", "rm", "f", "stable", "-w", workspace)).stdout).toBe("removed f@stable\n");
  expect((await server.treadle("activate", "f@stable", "-w", workspace)).stderr).toContain("UNKNOWN_DEPLOYMENT");
  expect((await server.treadle("activate", "f", "-w", workspace)).stderr).toContain("BAD_REQUEST");
  const named = await deploy(
    await folder({ "index.js": answering("four"), "treadle.yaml": "function: f\n" }),
    ...["-w", workspace, "--alias", "next", "--no-activate"],
  );
  expect(named).toMatchObject({ version: 4, active: false, url: `${server.url}/f/${workspace}/f@4/` });
  expect([await called("f"), await called("f@next"), await (await fetch(named.url as string)).text()]).toEqual([
    "one",
    "four",
    "four",
  ]);
});

test("variables and secrets are set, listed and removed; a secret is read from stdin and never shown", async () => {
  const workspace = fresh();
  const code = "module.exports = async ({ res }) => res.text(process.env.TOKEN + process.env.COLOUR);";
  await server.treadle("deploy", await folder({ "index.js": code }, "f"), "-w", workspace);
  const env = { ...ownEnvironment(), TREADLE_SERVER: server.url };
  const of = ["-w", workspace, "--function", "f"];
  const set = await runTreadle(["secret", "set", "TOKEN", ...of], { env, input: "s3cret-value\n" });
  expect(set).toEqual({ status: 0, stdout: "set TOKEN\n", stderr: "" });
  expect((await server.treadle("variable", "set", "COLOUR", "blue", "-w", workspace)).stdout).toBe("set COLOUR\n");
  expect(await (await fetch(`${server.url}/f/${workspace}/f`)).text()).toBe("s3cret-valueblue");
  expect((await server.treadle("secret", "ls", ...of)).stdout).toBe("TOKEN\n");
  expect(json((await server.treadle("secret", "ls", "--json", ...of)).stdout)).toEqual({
    name: "TOKEN",
    updatedAt: expect.any(Number),
  });
  expect((await server.treadle("variable", "ls", "-w", workspace)).stdout).toBe("COLOUR=blue\n");
  expect((await server.treadle("secret", "rm", "TOKEN", ...of)).stdout).toBe("removed TOKEN\n");
  expect((await server.treadle("secret", "rm", "TOKEN", ...of)).stderr).toContain("UNKNOWN_VARIABLE");
  expect((await server.treadle("variable", "set", "LD_PRELOAD", "x", "-w", workspace)).stderr).toContain("BAD_REQUEST");
});
