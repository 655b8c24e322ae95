import { createHmac } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Answer } from "../harness/http.ts";
import { sharedServer } from "../harness/shared-server.ts";

const SLEEP = "await new Promise((done) => setTimeout(done, ms)); console.log('slept', ms); return ms";

interface Execution {
  readonly id: string;
  readonly state: string;
  readonly trigger: string;
  readonly output: string | null;
  readonly error: { readonly code: string } | null;
  readonly attempts?: readonly { readonly attempt: number; readonly code: string }[];
  readonly callback?: {
    readonly state: string;
    readonly attempts: number;
    readonly status: number | null;
    readonly problem: string | null;
  };
  readonly logs: readonly { readonly message: string }[];
  readonly startedAt: number;
}

/** What callbacks of the tests arrive at. */
class Receiver {
  readonly requests: { readonly headers: IncomingMessage["headers"]; readonly body: string }[] = [];
  /** Answers to give, in order; then 204. */
  readonly answers: number[] = [];
  readonly #server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => {
      body += chunk;
    });
    request.on("end", () => {
      this.requests.push({ headers: request.headers, body });
      const status = this.answers.shift() ?? 204;
      response.writeHead(status, status === 302 ? { location: "/elsewhere" } : {}).end();
    });
  });

  async listen(): Promise<number> {
    await new Promise<void>((done) => this.#server.listen(0, "127.0.0.1", done));
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

const receiver = new Receiver();
const receiverPort = await receiver.listen();
afterAll(() => receiver.close());

describe("asynchronous executions", () => {
  const server = sharedServer({ flags: { "callback-trusted": `127.0.0.1:${receiverPort}`, "wait-timeout": "2000" } });

  const submit = (workspace: string, name: string, body: object, headers: Record<string, string> = {}): Promise<Answer> =>
    server.send("POST", `/api/v1/workspaces/${workspace}/functions/${name}/executions?mode=async`, body, { headers });
  const idOf = (answer: Answer): string => {
    if (answer.status !== 202) throw new Error(`${answer.status} ${answer.text.slice(0, 1_000)}`);
    return (answer.json as unknown as { execution: Execution }).execution.id;
  };
  const get = async (id: string, wait = 0): Promise<Execution> => {
    const answer = await server.send("GET", `/api/v1/executions/${id}?wait=${wait}`);
    if (answer.status !== 200) throw new Error(`${answer.status} ${answer.text}`);
    return answer.json as unknown as Execution;
  };

  beforeAll(async () => {
    await server.save("w", {
      sleep: { code: SLEEP, parameters: { ms: { type: "integer", required: true } as never } },
      fail: {
        code: 'cache.n = (cache.n ?? 0) + 1; console.log("attempt", cache.n); if (cache.n < times) throw new Error("not yet"); const n = cache.n; cache.n = 0; return n;',
        parameters: { times: { type: "integer" } },
      },
      big: { code: "return { length: text.length }", parameters: { text: { type: "string" } } },
    });
  }, 60_000);

  test("202 names where to ask; waiting answers with the outcome and the log", async () => {
    const answer = await submit("w", "sleep", { parameters: { ms: 50 } });
    const id = idOf(answer);
    expect(answer.headers.location).toBe(`/api/v1/executions/${id}`);
    expect(await get(id, 30)).toMatchObject({ state: "succeeded", output: "50", trigger: "async", error: null });
    expect((await get(id)).logs.map(({ message }) => message)).toEqual(["slept 50"]);
  });

  test("the header prefer: respond-async asks for the same", async () => {
    const answer = await server.send(
      "POST",
      "/api/v1/workspaces/w/functions/sleep/executions",
      { parameters: { ms: 1 } },
      { headers: { prefer: "respond-async, wait=5" } },
    );
    expect((await get(idOf(answer), 30)).state).toBe("succeeded");
  });

  test("what is under way is shown, waiting is bounded by what was asked for", async () => {
    const id = idOf(await submit("w", "sleep", { parameters: { ms: 1_500 } }));
    await expect.poll(async () => (await get(id)).state, { timeout: 1_000 }).toBe("running");
    const asked = performance.now();
    expect((await get(id, 0.3)).state).toBe("running");
    expect(performance.now() - asked).toBeLessThan(1_200);
    expect((await get(id, 30)).state).toBe("succeeded");
  });

  test("mistakes of the caller are refused at once, and nothing is queued", async () => {
    const bad = await submit("w", "sleep", { parameters: { ms: "x" } });
    expect([bad.status, bad.code]).toEqual([400, "INVALID_PARAMETERS"]);
    expect((await submit("w", "none", {})).code).toBe("UNKNOWN_FUNCTION");
    expect((await submit("nobody", "none", {})).code).toBe("UNKNOWN_WORKSPACE");
    expect((await submit("w", "sleep", { parameters: { ms: 1 }, callback: { url: "ftp://x" } })).code).toBe("BAD_REQUEST");
    const sync = await server.send("POST", "/api/v1/workspaces/w/functions/sleep/executions", {
      parameters: { ms: 1 },
      retries: 1,
    });
    expect([sync.status, sync.code]).toEqual([400, "BAD_REQUEST"]);
    expect((await server.send("GET", "/api/v1/executions/00000000-0000-7000-8000-000000000000?wait=1")).code).toBe(
      "UNKNOWN_EXECUTION",
    );
    expect((await server.send("GET", "/api/v1/queue")).json).toEqual({ queued: 0, running: 0 });
  });

  test("a failed one is tried again as often as was asked for, and shows its attempts", async () => {
    const id = idOf(await submit("w", "fail", { parameters: { times: 3 }, retries: 2 }));
    const done = await get(id, 30);
    expect(done).toMatchObject({ state: "succeeded", output: "3", error: null });
    expect(done.attempts?.map(({ attempt, code }) => [attempt, code])).toEqual([
      [1, "THREW"],
      [2, "THREW"],
    ]);
  });

  test("without retries left it has failed, and is listed so", async () => {
    const id = idOf(await submit("w", "fail", { parameters: { times: 1_000_000 }, retries: 1 }));
    const done = await get(id, 30);
    expect(done).toMatchObject({ state: "failed", error: { code: "THREW" } });
    expect(done.attempts).toHaveLength(1);
    const list = await server.send("GET", "/api/v1/executions?workspace=w&state=failed&trigger=async");
    expect((list.json.executions as Execution[]).map((each) => each.id)).toContain(id);
  });

  test("one that is delayed waits its time; higher priorities go first", async () => {
    const asked = Date.now();
    const late = idOf(await submit("w", "sleep", { parameters: { ms: 1 }, delaySeconds: 1 }));
    expect((await get(late)).state).toBe("queued");
    const done = await get(late, 30);
    expect(done.state).toBe("succeeded");
    expect(Date.now() - asked).toBeGreaterThanOrEqual(1_000);
    expect((await submit("w", "sleep", { parameters: { ms: 1 }, delaySeconds: 1, runAt: "2030-01-01T00:00:00Z" })).code).toBe(
      "BAD_REQUEST",
    );
  });

  test("the same key with the same input is the same execution; with another input it is a conflict", async () => {
    const key = { "idempotency-key": "order-17" };
    const ids = (await Promise.all([1, 2, 3, 4].map(() => submit("w", "sleep", { parameters: { ms: 5 } }, key)))).map(idOf);
    expect(new Set(ids).size).toBe(1);
    expect((await get(ids[0] as string, 30)).state).toBe("succeeded");
    const other = await submit("w", "sleep", { parameters: { ms: 6 } }, key);
    expect([other.status, other.code]).toEqual([409, "CONFLICT"]);
    expect(idOf(await submit("w", "sleep", { parameters: { ms: 5 }, idempotencyKey: "order-18" }))).not.toBe(ids[0]);
  });

  test("cancel ends it in every state", async () => {
    const cancel = async (id: string) => {
      const answer = await server.send("POST", `/api/v1/executions/${id}/cancel`);
      if (answer.status !== 200) throw new Error(answer.text);
      return answer.json as unknown as Execution;
    };
    const queued = idOf(await submit("w", "sleep", { parameters: { ms: 1 }, delaySeconds: 60 }));
    expect(await cancel(queued)).toMatchObject({ state: "cancelled", error: { code: "CANCELLED" } });
    const running = idOf(await submit("w", "sleep", { parameters: { ms: 60_000 } }));
    await expect.poll(async () => (await get(running)).state, { timeout: 5_000 }).toBe("running");
    const asked = performance.now();
    expect(await cancel(running)).toMatchObject({ state: "cancelled" });
    expect(performance.now() - asked).toBeLessThan(1_000);
    expect((await cancel(running)).state).toBe("cancelled");
    const sync = server.run("w", "sleep", { ms: 60_000 });
    let live: Execution | undefined;
    await expect
      .poll(async () => {
        const text = (await server.send("GET", "/api/v1/live?workspace=w")).text;
        live = (JSON.parse(text) as { executions: Execution[] }).executions.find((each) => each.trigger === "sync");
        return live?.state;
      })
      .toBe("running");
    expect(await cancel((live as unknown as Execution).id)).toMatchObject({ state: "cancelled", trigger: "sync" });
    expect((await sync).code).toBe("CANCELLED");
    expect((await server.send("POST", "/api/v1/executions/00000000-0000-7000-8000-000000000000/cancel")).code).toBe(
      "UNKNOWN_EXECUTION",
    );
    const ended = idOf(await submit("w", "sleep", { parameters: { ms: 1 } }));
    await get(ended, 30);
    expect((await cancel(ended)).state).toBe("succeeded");
  });

  test("replay calls again with the same input, of whatever kind the call was; a cut input is refused", async () => {
    await server.run("w", "sleep", { ms: 7 });
    const page = await server.send("GET", "/api/v1/executions?workspace=w&function=sleep&trigger=sync&limit=1");
    const first = (page.json.executions as Execution[])[0] as Execution;
    const replay = async (id: string) => server.send("POST", `/api/v1/executions/${id}/replay`, {});
    const again = idOf(await replay(first.id));
    expect(await get(again, 30)).toMatchObject({ state: "succeeded", trigger: "replay", output: "7" });
    const long = idOf(await submit("w", "big", { parameters: { text: "x".repeat(100_000) } }));
    expect(await get(long, 30)).toMatchObject({ state: "succeeded", output: '{"length":100000}' });
    const refused = await replay(long);
    expect([refused.status, refused.code]).toEqual([409, "NOT_REPLAYABLE"]);
  });

  test("the requests of handler functions are kept for replay, without what proves who sent them", async () => {
    const files = [
      {
        path: "index.js",
        text: "module.exports = async ({ req, res }) => res.text([req.method, req.bodyText, req.headers.authorization ?? 'nobody'].join(' '));",
      },
    ];
    const saved = await server.send("PUT", "/api/v1/workspaces/w/functions/handle", {
      contract: "handler",
      language: "node",
      files,
      entrypoint: "index.js",
    });
    expect(saved.status).toBe(200);
    const request = {
      method: "POST",
      path: "/a?b=c",
      headers: { authorization: "Bearer secret-of-caller", "x-mine": "1", Cookie: "secret-of-caller" },
      body: "hällo",
    };
    const sync = await server.send("POST", "/api/v1/workspaces/w/functions/handle/executions", { request });
    expect((sync.json.response as { body: string }).body).toBe("POST hällo Bearer secret-of-caller");
    const { id } = sync.json.execution as Execution;
    const record = await get(id, 5);
    const kept = (record as unknown as { input: string }).input;
    expect(kept).not.toContain("secret-of-caller");
    expect(JSON.parse(kept)).toMatchObject({
      ...{ method: "POST", body: "hällo" },
      headers: { "x-mine": "1", authorization: "***", Cookie: "***" },
    });
    const replayed = await get(idOf(await server.send("POST", `/api/v1/executions/${id}/replay`, {})), 30);
    expect(JSON.parse(replayed.output as string)).toMatchObject({ statusCode: 200, body: "POST hällo nobody" });
    const queued = await get(idOf(await submit("w", "handle", { request })), 30);
    expect(JSON.parse(queued.output as string)).toMatchObject({ body: "POST hällo Bearer secret-of-caller" });
    expect((queued as unknown as { input: string }).input).not.toContain("secret-of-caller");
  });

  test("the outcome is POSTed to a callback, signed by Standard Webhooks, again until it is taken", async () => {
    const key = ((await server.send("GET", "/api/v1/workspaces/w/callback-key")).json as unknown as { key: string }).key;
    expect(key).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    const url = `http://127.0.0.1:${receiverPort}/hook?x=1`;
    const own = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
    for (const [given, signedWith] of [
      [{ url }, key],
      [{ url, key: own }, own],
    ] as const) {
      receiver.requests.length = 0;
      receiver.answers.push(500);
      const id = idOf(await submit("w", "sleep", { parameters: { ms: 2 }, callback: given }));
      await expect.poll(() => receiver.requests.length, { timeout: 15_000 }).toBe(2);
      const [first, second] = receiver.requests;
      expect(JSON.parse(first?.body ?? "")).toMatchObject({
        type: "execution.succeeded",
        data: { id, state: "succeeded", output: 2 },
      });
      for (const { headers, body } of [first, second] as typeof receiver.requests) {
        expect(headers["webhook-id"]).toBe(id);
        const signed = `${id}.${headers["webhook-timestamp"]}.${body}`;
        const signature = createHmac("sha256", Buffer.from(signedWith.slice(6), "base64"))
          .update(signed)
          .digest("base64");
        expect(headers["webhook-signature"]).toBe(`v1,${signature}`);
      }
      await expect
        .poll(async () => (await get(id)).callback)
        .toMatchObject({ state: "delivered", attempts: 2, status: 204, problem: null });
    }
  }, 60_000);

  test("callbacks to private addresses are refused, and the refusal is shown", async () => {
    const id = idOf(
      await submit("w", "sleep", { parameters: { ms: 2 }, callback: { url: `http://127.0.0.1:${server.port}/api/v1/queue` } }),
    );
    await expect.poll(async () => (await get(id)).callback?.problem, { timeout: 10_000 }).toContain("not open");
    const named = idOf(await submit("w", "sleep", { parameters: { ms: 2 }, callback: { url: "http://169.254.169.254/latest" } }));
    await expect.poll(async () => (await get(named)).callback?.problem, { timeout: 10_000 }).toContain("public address");
    expect((await get(named)).callback?.state).toBe("pending");
  });
});
