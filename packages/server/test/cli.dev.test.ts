import { once } from "node:events";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type CliServer, startCliServer } from "./cli-server.ts";

const EXAMPLES = join(import.meta.dirname, "..", "..", "..", "examples");
let server: CliServer;
let place = "";

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), "treadle-dev-"));
  server = await startCliServer();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(place, { recursive: true });
});

async function folder(name: string): Promise<string> {
  const path = join(place, name);
  expect((await server.treadle("init", "node", path)).stderr).toBe("");
  return path;
}

interface CaseLine {
  readonly test: string;
  readonly passed: boolean;
  readonly faults: readonly string[];
}

function cases(stdout: string): CaseLine[] {
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as CaseLine);
}

test("treadle test runs what is in the folder, tells what is not as expected, and leaves no version", async () => {
  const path = await folder("tried");
  const passed = await server.treadle("test", path, "--workspace", "tests");
  expect([passed.status, passed.stderr]).toEqual([0, ""]);
  expect(passed.stdout).toMatch(/^ok +tests\/hello\.yaml {2}\d+ ms\n1 passed, 0 failed\n$/);

  await writeFile(
    join(path, "tests", "wrong.json"),
    JSON.stringify({
      request: { path: "/?name=Bo", method: "POST", body: { a: 1 } },
      expect: { status: 201, headers: { "x-not": "there" }, body: { message: "Hello Ada" }, logs: ["POST /", "never logged"] },
    }),
  );
  const failed = await server.treadle("test", path, "--workspace", "tests", "--json");
  expect(failed.status).toBe(1);
  const [, wrong] = cases(failed.stdout);
  expect(wrong).toMatchObject({ test: "tests/wrong.json", passed: false });
  expect(wrong?.faults).toEqual([
    "status: expected 201, got 200",
    'header x-not: expected "there", got nothing',
    'body.message: expected "Hello Ada", got "Hello Bo"',
    'logs: no line has "never logged"',
  ]);
  const { stdout } = await server.treadle("deployments", "tried", "--workspace", "tests", "--json");
  expect(stdout).not.toContain('"version"');
});

test("treadle test runs inline functions in a workspace of their own, which is gone afterwards", async () => {
  const path = join(place, "greetings");
  await cp(join(EXAMPLES, "greetings"), path, { recursive: true });
  await mkdir(join(path, "tests"), { recursive: true });
  await writeFile(
    join(path, "tests", "hello.yaml"),
    "function: hello\nparameters: { name: Ada }\nexpect: { result: Hello Ada }\n",
  );
  await writeFile(join(path, "tests", "refused.yaml"), "function: mean\nparameters: {}\nexpect: { error: INVALID_PARAMETERS }\n");
  await writeFile(join(path, "tests", "which.yaml"), "parameters: {}\n");
  const ambiguous = await server.treadle("test", path);
  expect([ambiguous.status, ambiguous.stderr]).toEqual([1, expect.stringContaining('tests/which.yaml: say which "function"')]);
  await rm(join(path, "tests", "which.yaml"));
  const passed = await server.treadle("test", path);
  expect(passed.stdout).toContain("2 passed, 0 failed");
  const workspaces = (await (await fetch(`${server.url}/api/v1/workspaces`)).json()) as { workspaces: { name: string }[] };
  expect(workspaces.workspaces.filter(({ name }) => name.startsWith("test-"))).toEqual([]);
});

test("a test file that is none is told by file and field", async () => {
  const path = await folder("malformed");
  await writeFile(join(path, "tests", "bad.yaml"), "expect: { statsu: 200 }\n");
  const refused = await server.treadle("test", path);
  expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining("tests/bad.yaml: expect")]);
});

test("treadle dev deploys what changes, shows the log, keeps the last good version and ends on an interrupt", async () => {
  const path = await folder("watched");
  const dev = server.start("dev", path, "--workspace", "dev");
  let output = "";
  dev.stdout?.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  const until = async (what: () => boolean | Promise<boolean>) => {
    const end = Date.now() + 25_000;
    while (!(await what())) {
      if (Date.now() > end) throw new Error(`it did not come: ${output}`);
      await sleep(100);
    }
  };
  const call = async () => (await fetch(`${server.url}/f/dev/watched/here?name=Ada`)).text();
  await until(() => output.includes("watched  version 1"));
  expect(await call()).toContain("Hello Ada");
  await until(() => output.includes("GET /here"));
  const source = await readFile(join(path, "index.js"), "utf8");
  await writeFile(join(path, "index.js"), source.replace("Hello", "Welcome"));
  await until(async () => (await call()).includes("Welcome Ada"));
  await writeFile(join(path, "index.js"), "export default ((");
  await sleep(1_000);
  await writeFile(join(path, "index.js"), source.replace("Hello", "Again"));
  await until(async () => {
    const text = await call();
    expect(text).toMatch(/Welcome Ada|Again Ada/);
    return text.includes("Again Ada");
  });
  dev.kill("SIGINT");
  const [code] = (await once(dev, "exit")) as [number | null];
  expect(code).toBe(0);
});
