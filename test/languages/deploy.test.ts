import { spawn } from "node:child_process";
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { languagesOfThisRun } from "../conformance/languages.ts";
import { Place } from "../harness/place.ts";
import type { Server } from "../harness/server.ts";

const TREADLE = join(import.meta.dirname, "../../bin/treadle");
const WORKSPACE = "languages";
/** The first build of some languages also fetches and compiles what all of its functions share. */
const BUILD_MS = 600_000;
vi.setConfig({ testTimeout: BUILD_MS, hookTimeout: 90_000 });

const languages = await languagesOfThisRun("deployed");
/** Of each language that is deployed by now: the path of its function, and what it answers. */
const served = new Map<string, { readonly path: string; readonly message: string }>();
let place: Place;
let server: Server;

beforeAll(async () => {
  place = new Place();
  server = await place.start({ prewarmed: "0" });
});

afterAll(async () => {
  if (place === undefined) return;
  await using _ = place;
  place.observe();
  expect(await server.stop()).toEqual({ code: 0, signal: null });
  expect(await place.leftovers()).toEqual([]);
  expect(server.defects).toEqual([]);
});

interface Deployed {
  readonly workspace: string;
  readonly function: string;
  readonly deployment: string;
  readonly version: number;
  readonly state: string;
  readonly url: string;
}

/** Runs `treadle ARGS...` against the server; its one line of JSON. */
async function treadle<T>(...args: string[]): Promise<T> {
  const { status, stdout, stderr } = await run([...args, "--server", `http://127.0.0.1:${server.port}`, "--json"]);
  expect(status, `treadle ${args.join(" ")}\n${stderr.slice(-8_000)}`).toBe(0);
  expect(stdout).toMatch(/^\{.*\}\n$/);
  return JSON.parse(stdout) as T;
}

function run(args: readonly string[]): Promise<{ status: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(TREADLE, args, { stdio: ["ignore", "pipe", "pipe"] });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, stdout, stderr }));
  });
}

const deploy = (folder: string, ...more: string[]) => treadle<Deployed>("deploy", folder, "--workspace", WORKSPACE, ...more);

/** What a function answers: JSON with the name of its language. */
async function messageOf(language: string, path: string): Promise<string> {
  const answer = await server.send("GET", path, undefined, { timeoutMs: 60_000 });
  expect(answer.status, `${language}: ${answer.text.slice(0, 2_000)}`).toBe(200);
  expect(answer.headers["content-type"]).toBe("application/json; charset=utf-8");
  const body = answer.json as unknown as { language: string; message: string };
  expect(body.language).toBe(language);
  return body.message;
}

/** A copy of an example that says goodbye, for as long as the caller needs it. */
async function changedCopy(example: string): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "treadle-example-"));
  await cp(example, path, { recursive: true });
  let changes = 0;
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = join(entry.parentPath, entry.name);
    const text = await readFile(file, "utf8");
    const changed = text.replaceAll(/(?<=["'`])Hello/g, "Goodbye");
    if (changed !== text) {
      changes += 1;
      await writeFile(file, changed);
    }
  }
  expect(changes).toBe(1);
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

for (const { name: language, folder, runtime } of languages) {
  test(`${language}: its example is deployed, called, deployed again without a build, changed and rolled back`, async (context) => {
    if ("reason" in runtime) return context.skip(`${language}: ${runtime.reason} ${runtime.remedy}`);
    const example = join(folder, "example");
    const first = await deploy(example);
    const name = `hello-${language}`;
    const base = `http://127.0.0.1:${server.port}`;
    expect(first).toMatchObject({
      workspace: WORKSPACE,
      function: name,
      deployment: `${name}@1`,
      version: 1,
      state: "ready",
      url: `${base}/f/${WORKSPACE}/${name}/`,
    });
    const path = first.url.slice(base.length);
    const hello = await messageOf(language, path);
    expect(hello).toMatch(/^Hello/);
    const of = `/api/v1/workspaces/${WORKSPACE}/functions/${name}`;
    const log = (await server.send("GET", `${of}/deployments/1/log`)).text.trim().split("\n");
    const lines = log.map((line) => JSON.parse(line) as { number: number; text: string });
    expect(lines.map(({ number }) => number)).toEqual(lines.map((_, at) => at + 1));
    expect(lines.map(({ text }) => text).join("")).not.toBe("");

    // The same source: the build that there is.
    const buildOf = async (version: number) => {
      const { build } = (await server.send("GET", `${of}/deployments/${version}`)).json as { build?: unknown };
      return build;
    };
    const second = await deploy(example, "--no-activate");
    expect(second).toMatchObject({ deployment: `${name}@2`, state: "ready" });
    expect(await buildOf(2)).toEqual(await buildOf(1));

    await using changed = await changedCopy(example);
    expect(await deploy(changed.path)).toMatchObject({ function: name, deployment: `${name}@3` });
    expect(await messageOf(language, path)).toMatch(/^Goodbye/);
    expect(await treadle("rollback", name, "--workspace", WORKSPACE)).toMatchObject({ version: 2, active: true });
    expect(await messageOf(language, path)).toBe(hello);
    expect(await messageOf(language, `/f/${WORKSPACE}/${name}@3/`)).toMatch(/^Goodbye/);
    served.set(language, { path, message: hello });
  });
}

test("all of them are served again after the server was killed", async () => {
  expect(served.size).toBeGreaterThan(0);
  place.observe();
  await server.kill();
  server = await place.start({ prewarmed: "0" });
  const answers = [...served].map(async ([language, { path, message }]) => [await messageOf(language, path), message]);
  for (const [seen, message] of await Promise.all(answers)) expect(seen).toBe(message);
});
