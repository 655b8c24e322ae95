import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Answer } from "../harness/http.ts";
import type { Server } from "../harness/server.ts";
import { sharedServer } from "../harness/shared-server.ts";

const KEY = "0123456789abcdef0123456789abcdef";
const AUTHORIZATION = { authorization: `Bearer ${KEY}` };
const ECHO = `let failures = 0;
module.exports = async ({ req, res, log }) => {
  log("got", req.path);
  if (req.path === "/fail") return res.text("out of order", 503);
  if (req.path === "/twice" && failures++ < 2) return res.text("failure " + failures, 500);
  if (req.path === "/slow") await new Promise((done) => setTimeout(done, 400));
  if (req.path === "/missing") return res.text("no such thing", 404);
  return res.json({ method: req.method, path: req.path, query: req.queryString, headers: req.headers, length: req.bodyBinary.length, sum: req.bodyBinary.reduce((sum, byte) => (sum + byte) % 65521, 0) });
};`;
const SCRIPT = "exports.handle = (data) => ({ ...data, payload: data.payload.toUpperCase() });";
const ROW_BYTES = 256 * 1024;

interface Execution {
  readonly id: string;
  readonly state: string;
  readonly trigger: string;
  readonly output: string | null;
  readonly error: { readonly code: string; readonly details?: unknown } | null;
  readonly attempts?: readonly { readonly attempt: number; readonly code: string }[];
  readonly logs: readonly { readonly message: string }[];
}

interface Echoed {
  readonly statusCode: number;
  readonly body: string;
}

async function save(server: Server): Promise<void> {
  const put = async (name: string, body: object) => {
    const answer = await server.send("PUT", `/api/v1/workspaces/w/functions/${name}`, body, { headers: AUTHORIZATION });
    if (answer.status !== 200) throw new Error(`${name}: ${answer.status} ${answer.text}`);
  };
  const files = [{ path: "index.js", text: ECHO }];
  await put("echo", { contract: "handler", files });
  await put("open", { contract: "handler", files, settings: { public: true, requestBytes: 1_000_000 } });
  await put("script", { contract: "script", files: [{ path: "index.js", text: SCRIPT }] });
}

describe("requests that are queued", () => {
  const server: Server = sharedServer({ environment: { TREADLE_ADMIN_KEY: KEY }, prepare: () => save(server) });

  const later = (method: string, path: string, body?: string | Uint8Array, headers: Record<string, string> = {}) =>
    server.send(method, path, body, { headers: { "x-treadle-async": "1", ...AUTHORIZATION, ...headers } });
  const idOf = (answer: Answer): string => {
    if (answer.status !== 202) throw new Error(`${answer.status} ${answer.text.slice(0, 1_000)}`);
    return (answer.json as unknown as { execution: Execution }).execution.id;
  };
  const ended = async (id: string): Promise<Execution> =>
    (await server.send("GET", `/api/v1/executions/${id}?wait=30`, undefined, { headers: AUTHORIZATION }))
      .json as unknown as Execution;
  const echoed = ({ output }: Execution) =>
    JSON.parse((JSON.parse(output as string) as Echoed).body) as {
      readonly headers: Record<string, string>;
      readonly length: number;
      readonly sum: number;
    };

  test("x-treadle-async: 1 answers 202 with where to ask; the function gets method, path, query, headers and body", async () => {
    const answer = await later("PATCH", "/f/w/echo/a/b?c=d", "hällo", { "x-mine": "1", "content-type": "text/plain" });
    const id = idOf(answer);
    expect(answer.headers.location).toBe(`/api/v1/executions/${id}`);
    expect(answer.headers["x-treadle-execution"]).toBe(id);
    const done = await ended(id);
    expect(done).toMatchObject({ state: "succeeded", trigger: "async", error: null });
    const seen = echoed(done);
    expect(seen).toMatchObject({ method: "PATCH", path: "/a/b", query: "c=d", length: 6 });
    expect(seen.headers).toMatchObject({ "x-mine": "1", "content-type": "text/plain" });
    expect(seen.headers["x-treadle-async"]).toBeUndefined();
    expect(JSON.stringify(done)).not.toContain(KEY);
  });

  test("prefer: respond-async asks for the same; without a body, too, and of scripts", async () => {
    const headers = { prefer: "respond-async, wait=10", ...AUTHORIZATION };
    const answer = await server.send("DELETE", "/f/w/echo/x", undefined, { headers });
    expect(echoed(await ended(idOf(answer)))).toMatchObject({ method: "DELETE", length: 0 });
    const script = await later("POST", "/f/w/script", JSON.stringify({ payload: "four" }));
    expect((await ended(idOf(script))).output).toContain('"payload":"FOUR"');
    expect((await later("POST", "/f/w/script", "[")).code).toBe("BAD_REQUEST");
    expect((await later("GET", "/f/w/echo", undefined, { "x-treadle-async": "yes" })).code).toBe("BAD_REQUEST");
    expect((await later("GET", "/f/w/echo", undefined, { "x-treadle-async": "0" })).status).toBe(200);
  });

  test("strangers may call a public function, but not queue its calls", async () => {
    const refused = await server.send("POST", "/f/w/open/x", "x", { headers: { "x-treadle-async": "1" } });
    expect([refused.status, refused.code]).toEqual([401, "UNAUTHORIZED"]);
    const wish = await server.send("POST", "/f/w/open/x", "x", { headers: { prefer: "respond-async" } });
    expect(wish.status).toBe(200);
    expect((wish.json.headers as Record<string, string>).prefer).toBe("respond-async");
    expect(idOf(await later("POST", "/f/w/open/x", "x"))).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("bodies beyond the function's limit are refused", async () => {
    const answer = await later("POST", "/f/w/open/x", "x".repeat(1_000_001));
    expect([answer.status, answer.code]).toEqual([413, "BODY_TOO_LARGE"]);
  });

  test("a long body goes to storage, and arrives whole; a short one does not", async () => {
    const body = Buffer.alloc(3_000_000, "0123456789abcdefghijklmnopqrstuvwxyz\xff", "latin1");
    const sum = body.reduce((total, byte) => (total + byte) % 65521, 0);
    const before = storedBytes(server.dataDirectory);
    const id = idOf(await later("POST", "/f/w/echo/long", body));
    const done = await ended(id);
    expect(done.state).toBe("succeeded");
    expect(echoed(done)).toMatchObject({ length: body.length, sum });
    expect(storedBytes(server.dataDirectory) - before).toBeGreaterThan(body.length);
    // What fits stays in the row.
    const between = storedBytes(server.dataDirectory);
    expect((await ended(idOf(await later("POST", "/f/w/echo/short", "x".repeat(ROW_BYTES / 2))))).state).toBe("succeeded");
    expect(storedBytes(server.dataDirectory)).toBe(between);
  });

  test("long ones take turns, so that not all are in memory; one that waits its turn can be cancelled", async () => {
    const ids = await Promise.all(
      Array.from({ length: 7 }, async () => idOf(await later("POST", "/f/w/echo/slow", "x".repeat(400_000)))),
    );
    const live = async () =>
      (
        (await server.send("GET", "/api/v1/live?workspace=w", undefined, { headers: AUTHORIZATION })).json
          .executions as Execution[]
      ).map(({ id }) => id);
    await expect.poll(async () => (await live()).length, { interval: 10 }).toBe(4);
    const begun = await live();
    const dropped = ids.find((id) => !begun.includes(id)) as string;
    const answer = await server.send("POST", `/api/v1/executions/${dropped}/cancel`, undefined, { headers: AUTHORIZATION });
    expect(answer.json).toMatchObject({ state: "cancelled" });
    const ends = await Promise.all(ids.map(ended));
    expect(ends.map(({ id, state }) => [id, state])).toEqual(ids.map((id) => [id, id === dropped ? "cancelled" : "succeeded"]));
    expect(ends.find(({ id }) => id === dropped)?.logs).toEqual([]);
  });

  test("the same key, method, path and body are the same execution, whatever the headers; another body is a conflict", async () => {
    const key = { "idempotency-key": "payment-1" };
    const first = idOf(await later("POST", "/f/w/echo/pay", "one", { ...key, "x-request-id": "1" }));
    expect(idOf(await later("POST", "/f/w/echo/pay", "one", { ...key, "x-request-id": "2" }))).toBe(first);
    expect((await later("POST", "/f/w/echo/pay", "two", key)).code).toBe("CONFLICT");
    expect((await later("POST", "/f/w/echo/pay", "two", { "idempotency-key": "x".repeat(256) })).code).toBe("BAD_REQUEST");
  });

  test("a status of 500 and above is a failure, the response stays to be seen; 404 is an answer", async () => {
    const failed = await ended(idOf(await later("GET", "/f/w/echo/fail")));
    expect(failed).toMatchObject({ state: "failed", error: { code: "HANDLER_FAILED", details: { status: 503 } } });
    expect(JSON.parse(failed.output as string)).toMatchObject({ statusCode: 503, body: "out of order" });
    expect(failed.logs.map(({ message }) => message)).toEqual(["got /fail"]);
    const missing = await ended(idOf(await later("GET", "/f/w/echo/missing")));
    expect(missing).toMatchObject({ state: "succeeded", error: null });
    expect(JSON.parse(missing.output as string)).toMatchObject({ statusCode: 404, body: "no such thing" });
    // Whoever waits reads the status himself.
    expect((await server.send("GET", "/f/w/echo/fail", undefined, { headers: AUTHORIZATION })).status).toBe(503);
  });

  test("it is tried again when retries were asked for, and shows the answer of each failed attempt until the next", async () => {
    const submit = await server.send(
      "POST",
      "/api/v1/workspaces/w/functions/echo/executions?mode=async",
      { request: { path: "/twice" }, retries: 3 },
      { headers: AUTHORIZATION },
    );
    const id = idOf(submit);
    const get = async () =>
      (await server.send("GET", `/api/v1/executions/${id}`, undefined, { headers: AUTHORIZATION })).json as unknown as Execution;
    await expect.poll(async () => (await get()).output, { timeout: 10_000, interval: 20 }).toContain("failure 1");
    const done = await ended(id);
    expect(done).toMatchObject({ state: "succeeded", error: null });
    expect(JSON.parse(done.output as string)).toMatchObject({ statusCode: 200 });
    expect(done.attempts?.map(({ attempt, code }) => [attempt, code])).toEqual([
      [1, "HANDLER_FAILED"],
      [2, "HANDLER_FAILED"],
    ]);
  });
});

/** Bytes in the local storage. */
function storedBytes(dataDirectory: string): number {
  const directory = join(dataDirectory, "files");
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((total, entry) => total + statSync(join(entry.parentPath, entry.name)).size, 0);
}
