import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { Agent } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { type Answer, send } from "../harness/http.ts";
import { Place } from "../harness/place.ts";
import type { Server } from "../harness/server.ts";
import { sharedServer } from "../harness/shared-server.ts";

const run = promisify(execFile);
const server = sharedServer({ flags: { prewarmed: "1", "versions-kept": "5" } });
let count = 0;
const fresh = () => `d${++count}`;
const at = (workspace: string, name = "f") => `/api/v1/workspaces/${workspace}/functions/${name}`;

const answering = (text: string) =>
  `module.exports = async ({ req, res }) => res.text(${JSON.stringify(text)} + (req.query.x ?? ""));`;

/** A tar.gz of these files. */
async function packed(files: Readonly<Record<string, string>>): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), "treadle-source-"));
  try {
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), text);
    }
    const { stdout } = await run("tar", ["-czf", "-", "-C", folder, "."], { encoding: "buffer", maxBuffer: 10_000_000 });
    return stdout;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function upload(
  on: Server,
  workspace: string,
  files: Readonly<Record<string, string>>,
  query = "",
  name = "f",
): Promise<Answer> {
  return on.send("POST", `${at(workspace, name)}/deployments${query}`, await packed(files), {
    headers: { "content-type": "application/gzip" },
  });
}

interface Deployment {
  readonly version: number;
  readonly state: string;
  readonly active: boolean;
  readonly aliases: readonly string[];
  readonly activationError: { readonly code: string } | null;
  readonly build: { readonly id: string; readonly error: { readonly code: string } | null } | null;
}

/** Waits until a version's build has ended and it is active or was given up. */
async function settled(on: Server, workspace: string, reference: string | number = "latest", name = "f"): Promise<Deployment> {
  for (let tries = 0; tries < 600; tries++) {
    const deployment = (await on.send("GET", `${at(workspace, name)}/deployments/${reference}`)).json as unknown as Deployment;
    const ended = !["queued", "building"].includes(deployment.state);
    if (ended && (deployment.state !== "ready" || deployment.active || deployment.activationError !== null)) return deployment;
    await sleep(50);
  }
  throw new Error("the deployment did not settle");
}

async function deployed(workspace: string, files: Readonly<Record<string, string>>, query = ""): Promise<Deployment> {
  expect((await upload(server, workspace, files, query)).status).toBe(202);
  return settled(server, workspace);
}

const get = async (path: string) => {
  const { status, text } = await server.send("GET", path);
  return { status, text };
};

async function saveHandler(workspace: string, text: string, settings: object = {}): Promise<void> {
  const body = { contract: "handler", files: [{ path: "index.js", text: answering(text) }], settings };
  const answer = await server.send("PUT", at(workspace), body);
  expect(answer.status, answer.text).toBe(200);
}

describe("versions saved as files", () => {
  test("are listed, activated, rolled back, pinned by number and alias, compared and removed", async () => {
    const workspace = fresh();
    for (const text of ["one", "two", "three"]) await saveHandler(workspace, text);
    const f = at(workspace);
    const list = async () =>
      ((await server.send("GET", `${f}/deployments`)).json.deployments as Deployment[]).map((each) => [
        each.version,
        each.active,
      ]);
    expect(await list()).toEqual([
      [3, true],
      [2, false],
      [1, false],
    ]);
    expect(await get(`/f/${workspace}/f`)).toEqual({ status: 200, text: "three" });
    expect((await server.send("POST", `${f}/deployments/1/activate`)).json).toMatchObject({ version: 1, active: true });
    expect(await get(`/f/${workspace}/f?x=1`)).toEqual({ status: 200, text: "one1" });
    expect((await server.send("POST", `${f}/rollback`)).code).toBe("NOT_DEPLOYED");
    await server.send("POST", `${f}/deployments/latest/activate`);
    expect((await server.send("POST", `${f}/rollback`)).json).toMatchObject({ version: 2, active: true });
    expect(await get(`/f/${workspace}/f`)).toEqual({ status: 200, text: "two" });
    expect(await get(`/f/${workspace}/f@3`)).toEqual({ status: 200, text: "three" });
    expect(await get(`/f/${workspace}/f@2`)).toEqual({ status: 200, text: "two" });
    expect((await server.send("PUT", `${f}/aliases/beta`, { deployment: 3 })).json).toMatchObject({
      version: 3,
      aliases: ["beta"],
    });
    expect(await get(`/f/${workspace}/f@beta`)).toEqual({ status: 200, text: "three" });
    expect((await server.send("PUT", `${f}/aliases/beta`, { deployment: "1" })).json).toMatchObject({ version: 1 });
    expect(await get(`/f/${workspace}/f@beta`)).toEqual({ status: 200, text: "one" });
    expect((await server.send("GET", `/f/${workspace}/f@gamma`)).code).toBe("UNKNOWN_DEPLOYMENT");
    expect((await server.send("GET", `/f/${workspace}/f@9`)).code).toBe("UNKNOWN_DEPLOYMENT");
    const { differences } = (await server.send("GET", `${f}/deployments/1/diff/beta`)).json;
    expect(differences).toEqual([]);
    const changed = (await server.send("GET", `${f}/deployments/1/diff/3`)).json.differences;
    expect(changed).toMatchObject([{ path: "index.js", change: "changed", patch: expect.stringContaining("+module.exports") }]);
    for (const version of [1, 2])
      expect((await server.send("DELETE", `${f}/deployments/${version}`)).code, String(version)).toBe("CONFLICT");
    expect((await server.send("DELETE", `${f}/aliases/beta`)).status).toBe(204);
    expect((await server.send("DELETE", `${f}/aliases/beta`)).code).toBe("UNKNOWN_DEPLOYMENT");
    expect((await server.send("DELETE", `${f}/deployments/1`)).status).toBe(204);
    expect((await server.send("GET", `/f/${workspace}/f@1`)).code).toBe("UNKNOWN_DEPLOYMENT");
    await saveHandler(workspace, "four");
    expect(await list()).toEqual([
      [4, true],
      [3, false],
      [2, false],
    ]);
  });

  test("of inline functions are activated with their parameters, and pinned ones still call their siblings", async () => {
    const workspace = fresh();
    await server.save(workspace, { f: { code: "return 'old ' + await g();" }, g: { code: "return 'sibling'" } });
    await server.save(workspace, {
      f: { code: "return 'new ' + who", parameters: { who: { type: "string" } } },
      g: { code: "return 'sibling'" },
    });
    expect(await server.result(workspace, "f", { who: "Ada" })).toBe("new Ada");
    expect(await server.result(workspace, "f@1")).toBe("old sibling");
    expect((await server.send("POST", `${at(workspace)}/rollback`)).json).toMatchObject({ version: 1, active: true });
    expect(await server.result(workspace, "f")).toBe("old sibling");
    expect(await server.result(workspace, "f@2", { who: "Ada" })).toBe("new Ada");
    expect((await server.run(workspace, "f@2", { who: 3 })).code).toBe("INVALID_PARAMETERS");
  });

  test("old ones go, but for the active one and those with an alias", async () => {
    const workspace = fresh();
    await saveHandler(workspace, "v1");
    await server.send("PUT", `${at(workspace)}/aliases/first`, { deployment: "active" });
    for (let version = 2; version <= 8; version++) await saveHandler(workspace, `v${version}`);
    const kept = (await server.send("GET", `${at(workspace)}/deployments`)).json.deployments as Deployment[];
    expect(kept.map(({ version }) => version)).toEqual([8, 7, 6, 5, 4, 1]);
    expect(await get(`/f/${workspace}/f@first`)).toEqual({ status: 200, text: "v1" });
  });
});

describe("uploaded sources", () => {
  test("are built, activated and called; the log is read as lines and as events", async () => {
    const workspace = fresh();
    const made = await upload(server, workspace, {
      "index.js": answering("built"),
      "treadle.yaml":
        "function: f\nlanguage: node\ncommand: 'echo made by hand > note.txt; cat note.txt'\nsettings: {timeoutMs: 5000}\n",
    });
    expect(made.status, made.text).toBe(202);
    expect(made.json).toMatchObject({ version: 1, active: false, origin: { kind: "upload" }, settings: { timeoutMs: 5000 } });
    expect(["NOT_DEPLOYED", undefined]).toContain((await server.send("GET", at(workspace))).json.error?.code);
    const deployment = await settled(server, workspace);
    expect(deployment).toMatchObject({ version: 1, state: "ready", active: true, activationError: null });
    expect(await get(`/f/${workspace}/f`)).toEqual({ status: 200, text: "built" });
    expect((await server.send("GET", at(workspace))).json).toMatchObject({ contract: "handler", buildId: deployment.build?.id });
    const log = await server.send("GET", `${at(workspace)}/deployments/1/log`);
    expect(log.headers["content-type"]).toContain("application/x-ndjson");
    const lines = log.text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { number: number; text: string });
    expect(lines.map(({ text }) => text)).toContain("made by hand");
    expect(lines.map(({ number }) => number)).toEqual(lines.map((_, index) => index + 1));
    const events = await server.send("GET", `${at(workspace)}/deployments/1/log`, undefined, {
      headers: { accept: "text/event-stream", "last-event-id": String(lines.length - 1) },
    });
    expect(events.headers["content-type"]).toContain("text/event-stream");
    expect(events.text.match(/^id: \d+$/gm)).toEqual([`id: ${lines.length}`]);
    expect(events.text).toContain('event: end\ndata: {"state":"ready","error":null}');
  });

  test("of the same content are not built twice; settings of a function change without a new version", async () => {
    const workspace = fresh();
    const files = { "index.js": answering("same") };
    const first = await deployed(workspace, files);
    const second = await deployed(workspace, files, "?language=node");
    expect([second.version, second.build?.id]).toEqual([2, first.build?.id]);
    const changed = await server.send("PUT", at(workspace), { settings: { timeoutMs: 1234 } });
    expect(changed.json).toMatchObject({ version: 2, settings: { timeoutMs: 1234 }, buildId: first.build?.id });
    expect(await get(`/f/${workspace}/f`)).toEqual({ status: 200, text: "same" });
    expect((await server.send("PUT", at(workspace), { entrypoint: "other.js" })).code).toBe("BAD_REQUEST");
    await saveHandler(workspace, "saved");
    expect(await get(`/f/${workspace}/f`)).toEqual({ status: 200, text: "saved" });
    const back = await server.send("POST", `${at(workspace)}/rollback`);
    expect(back.json).toMatchObject({ version: 2, active: true });
    expect(await get(`/f/${workspace}/f`)).toEqual({ status: 200, text: "same" });
    expect((await server.send("GET", `${at(workspace)}/deployments/2/diff/3`)).json.differences).toMatchObject([
      { path: "index.js", change: "changed" },
    ]);
  });

  test("that fail to build or to load stay away from calls, and say why", async () => {
    const workspace = fresh();
    await deployed(workspace, { "index.js": answering("good") });
    const failed = await deployed(workspace, {
      "index.js": answering("never"),
      "treadle.yaml": "command: 'echo oh dear >&2; exit 3'",
    });
    expect(failed).toMatchObject({ version: 2, state: "failed", active: false, build: { error: { code: "BUILD_FAILED" } } });
    expect((await server.send("POST", `${at(workspace)}/deployments/2/activate`)).code).toBe("BUILD_FAILED");
    const broken = await deployed(workspace, { "index.js": "module.exports = async () => {" });
    expect(broken).toMatchObject({ version: 3, state: "ready", active: false });
    expect(["SYNTAX_ERROR", "LOAD_FAILED"]).toContain(broken.activationError?.code);
    const secretive = await deployed(workspace, {
      "index.js": answering("x"),
      "treadle.yaml": "settings: {secrets: [NOT_THERE]}",
    });
    expect(secretive).toMatchObject({ version: 4, active: false, activationError: { code: "UNRESOLVED_SECRET" } });
    expect(await get(`/f/${workspace}/f`)).toEqual({ status: 200, text: "good" });
    await server.send("PUT", `/api/v1/workspaces/${workspace}/secrets/NOT_THERE`, { value: "now it is" });
    expect((await server.send("POST", `${at(workspace)}/deployments/4/activate`)).json).toMatchObject({
      active: true,
      activationError: null,
    });
    expect((await server.send("POST", `${at(workspace)}/rollback`)).code).toMatch(/SYNTAX_ERROR|LOAD_FAILED/);
    expect(await get(`/f/${workspace}/f`)).toEqual({ status: 200, text: "x" });
  });

  test("are built for later when asked to, and given up when cancelled", async () => {
    const workspace = fresh();
    await upload(server, workspace, { "index.js": answering("slow"), "treadle.yaml": "command: sleep 60" });
    expect((await server.send("GET", `/f/${workspace}/f`)).code).toBe("NOT_DEPLOYED");
    expect((await server.send("POST", `${at(workspace)}/deployments/1/activate`)).code).toBe("NOT_DEPLOYED");
    expect((await server.send("POST", `${at(workspace)}/deployments/1/cancel`)).json).toMatchObject({ state: "cancelled" });
    await upload(server, workspace, { "index.js": answering("later") }, "?activate=false");
    await expect
      .poll(async () => ((await server.send("GET", `${at(workspace)}/deployments/2`)).json as unknown as Deployment).state)
      .toBe("ready");
    expect((await server.send("GET", `/f/${workspace}/f`)).code).toBe("NOT_DEPLOYED");
    expect(await get(`/f/${workspace}/f@2`)).toEqual({ status: 200, text: "later" });
    expect((await server.send("GET", `/api/v1/workspaces/${workspace}`)).json).toMatchObject({
      functions: [],
      undeployed: ["f"],
    });
    expect((await server.send("POST", `${at(workspace)}/deployments/latest/activate`)).json).toMatchObject({
      version: 2,
      active: true,
    });
    expect((await server.send("DELETE", at(workspace))).status).toBe(204);
    expect((await server.send("GET", `${at(workspace)}/deployments`)).code).toBe("UNKNOWN_FUNCTION");
  });

  test("that cannot be taken are refused as the sender's mistake, and leave nothing", async () => {
    const workspace = fresh();
    const post = (query: string, body: string | Buffer, type: string, headers: Record<string, string> = {}) =>
      server.send("POST", `${at(workspace)}/deployments${query}`, body, { headers: { "content-type": type, ...headers } });
    const good = await packed({ "index.js": answering("x") });
    const gzip = "application/gzip";
    const code = async (answer: Promise<Answer>) => (await answer).code;
    expect(await code(post("", "no archive", gzip))).toBe("BAD_ARCHIVE");
    expect(await code(post("", good.subarray(0, good.length >> 1), gzip))).toBe("BAD_ARCHIVE");
    expect(await code(post("", good, "image/png"))).toBe("UNSUPPORTED_MEDIA_TYPE");
    expect(await code(post("", good, gzip, { "content-encoding": "gzip" }))).toBe("UNSUPPORTED_MEDIA_TYPE");
    expect(await code(post("?language=cobol", good, gzip))).toBe("UNKNOWN_RUNTIME");
    expect(await code(post("?contract=inline", good, gzip))).toBe("BAD_REQUEST");
    expect(await code(post("?settings=%7B", good, gzip))).toBe("BAD_REQUEST");
    expect(await code(post(`?settings=${encodeURIComponent('{"memoryBytes":1}')}`, good, gzip))).toBe("BAD_REQUEST");
    expect(await code(post("?entrypoint=../x", good, gzip))).toBe("BAD_REQUEST");
    expect(await code(post("", "{}", "application/json"))).toBe("BAD_REQUEST");
    expect(await code(post("", "", "application/json"))).toBe("BAD_REQUEST");
    expect(await code(post("", '{"git":{"url":"https://git.invalid/x"}}', "application/json"))).toBe("SOURCE_UNAVAILABLE");
    expect(await code(post("", '{"git":{"url":"file:///etc"}}', "application/json"))).toMatch(/BAD_REQUEST|SOURCE_UNAVAILABLE/);
    expect(await code(upload(server, workspace, { "readme.txt": "?" }))).toBe("BAD_REQUEST");
    expect(await code(upload(server, workspace, { "index.js": "x", "treadle.yaml": "a: [" }))).toBe("INVALID_DEPLOYMENT");
    expect(await code(upload(server, workspace, { "index.js": "x", "treadle.yaml": "settings: {memory: 1}" }))).toBe(
      "INVALID_DEPLOYMENT",
    );
    expect(await code(upload(server, workspace, { "index.js": "x", "treadle.yaml": "functions: {}" }))).toBe(
      "INVALID_DEPLOYMENT",
    );
    expect((await server.send("GET", `/api/v1/workspaces/${workspace}`)).code).toBe("UNKNOWN_WORKSPACE");
    await saveHandler(workspace, "there");
    for (const [method, path, body] of [
      ["GET", "deployments/none"],
      ["GET", "deployments/99999999999"],
      ["GET", "deployments/2147483648/log"],
      ["POST", "deployments/-1/activate"],
      ["DELETE", "deployments/%00"],
      ["GET", "deployments/1/diff/%F0%9F%92%A5"],
      ["PUT", "aliases/active", { deployment: 1 }],
      ["PUT", "aliases/7", { deployment: 1 }],
      ["PUT", "aliases/__proto__", { deployment: 1 }],
      ["PUT", "aliases/a", { deployment: 9 }],
      ["PUT", "aliases/a", { deployment: {} }],
      ["DELETE", "aliases/%00"],
    ] as const) {
      const { status } = await server.send(method, `${at(workspace)}/${path}`, body);
      expect(status, `${method} ${path}`).toBeGreaterThanOrEqual(400);
      expect(status, `${method} ${path}`).toBeLessThan(500);
    }
    expect((await server.send("GET", `/f/${workspace}/f@99999999999999`)).code).toBe("UNKNOWN_DEPLOYMENT");
  });
});

test("limits below what the language needs, and more executions than allowed, are refused by name", async () => {
  const workspace = fresh();
  const slow =
    "module.exports = async ({ req, res }) => { await new Promise((done) => setTimeout(done, 400)); return res.text('ok'); };";
  const files = [{ path: "index.js", text: slow }];
  const refused = await server.send("PUT", at(workspace), { contract: "handler", files, settings: { memoryBytes: 33_554_432 } });
  expect(refused.code).toBe("BAD_REQUEST");
  expect(refused.json.error?.message).toContain("memoryBytes");
  await server.send("PUT", at(workspace), {
    contract: "handler",
    files,
    settings: { concurrencyLimit: { max: 2, whenFull: "reject" } },
  });
  await get(`/f/${workspace}/f`);
  const rejected = await Promise.all(Array.from({ length: 5 }, () => server.send("GET", `/f/${workspace}/f`)));
  expect(rejected.map(({ status }) => status).sort()).toEqual([200, 200, 429, 429, 429]);
  expect(rejected.find(({ status }) => status === 429)?.code).toBe("CONCURRENCY_LIMIT");
  await server.send("PUT", at(workspace), { settings: { concurrencyLimit: { max: 2 } } });
  const began = Date.now();
  const queued = await Promise.all(Array.from({ length: 5 }, () => server.send("GET", `/f/${workspace}/f`)));
  expect(queued.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
  expect(Date.now() - began).toBeGreaterThanOrEqual(1_150);
});

test("20 activations under the load of 20 connections: every call is answered by a version, and none by an old one after a new one", {
  timeout: 120_000,
}, async () => {
  const workspace = fresh();
  for (const text of ["a", "b"]) await saveHandler(workspace, text);
  await get(`/f/${workspace}/f`);
  /** What calls are to be answered with by now; the activation under way may answer already. */
  let current = "b";
  let coming: string | null = null;
  let stop = false;
  const faults: string[] = [];
  let calls = 0;
  const agent = new Agent({ keepAlive: true, maxSockets: 20 });
  const load = Array.from({ length: 20 }, async () => {
    while (!stop) {
      const [before, next] = [current, coming];
      let seen: string | null = null;
      const { status, text } = await send(server.port, "GET", `/f/${workspace}/f`, undefined, { agent });
      calls += 1;
      seen = text;
      const allowed = [before, next, current, coming];
      if (status !== 200 || !allowed.includes(seen)) faults.push(`${status} ${text.slice(0, 200)} not of ${allowed.join()}`);
      // Once the new version has answered, a call that begins later must not meet the old one.
      if (coming !== null && seen === coming) {
        current = coming;
        coming = null;
      }
    }
  });
  for (let round = 0; round < 20; round++) {
    const [version, text] = round % 2 === 0 ? [1, "a"] : [2, "b"];
    coming = text as string;
    const answer = await server.send("POST", `${at(workspace)}/deployments/${version}/activate`);
    if (answer.status !== 200) faults.push(answer.text);
    current = text as string;
    coming = null;
    await sleep(50);
  }
  stop = true;
  await Promise.all(load);
  agent.destroy();
  expect(faults.slice(0, 5)).toEqual([]);
  expect(calls).toBeGreaterThan(500);
});

test("what was being built when the server was killed is built and activated by the next one", { timeout: 120_000 }, async () => {
  await using place = new Place();
  const first = await place.start({ prewarmed: "0" });
  expect((await upload(first, "w", { "index.js": answering("survivor"), "treadle.yaml": "command: sleep 2" })).status).toBe(202);
  await sleep(500);
  place.observe();
  await first.kill();
  const second = await place.start({ prewarmed: "0" });
  expect(await settled(second, "w")).toMatchObject({ state: "ready", active: true });
  expect((await second.send("GET", "/f/w/f")).text).toBe("survivor");
  place.observe();
  await second.stop();
  expect(await place.leftovers()).toEqual([]);
});
