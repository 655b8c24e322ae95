import { createServer } from "node:http";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { LEVEL } from "./channel-client.ts";
import { folderOf } from "./node-server.ts";
import { missing, startLoadedWeb, startWeb, WEB_RUNTIMES } from "./web-server.ts";

const FILE = "main.ts";
const HANDLER = `
const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));
let aborted = 0;
const actions: any = {
  hello: ({ req, res, log }: any) => { log("called by", req.bodyJson.name); return res.json({ hello: req.bodyJson.name, é: "ü" }); },
  request: ({ req, res }: any) => res.json({ method: req.method, path: req.path, query: req.query, host: req.host, own: req.headers["x-open-runtimes-a"], type: req.headers["content-type"] }),
  cookies: ({ res }: any) => res.text("x", 201, { "set-cookie": ["a=1", "b=2"], "content-length": "999" }),
  binary: ({ req, res }: any) => res.binary(req.bodyBinary),
  empty: ({ res }: any) => res.empty(),
  badHeader: ({ res }: any) => res.text("x", 200, { "x-evil": "a\\r\\nset-cookie: b" }),
  nothing: () => {},
  throws: ({ log }: any) => { log("before"); throw new RangeError("on purpose"); },
  large: ({ res }: any) => res.text("x".repeat(5000000)),
  print: async ({ req, res }: any) => { for (let i = 0; i < 3; i++) { console.log("line of " + req.path); await sleep(5); } return res.empty(); },
  long: ({ res, log }: any) => { log("y".repeat(9000)); return res.empty(); },
  wait: async ({ req, res }: any) => { req.signal.addEventListener("abort", () => aborted++); await sleep(60_000); return res.empty(); },
  aborted: ({ res }: any) => res.json(aborted),
  late: ({ res }: any) => { setTimeout(() => { throw new Error("too late"); }, 10); return res.text("ok"); },
  inTimer: () => new Promise(() => setTimeout(() => { throw new Error("in timer"); }, 5)),
  block: () => { console.log("still heard"); for (;;); },
  environment: ({ res }: any) => res.text(process.env.GIVEN),
  fetch: async ({ res }: any) => res.text(await (await fetch("http://example.test/path")).text()),
};
export default (context: any) => actions[context.req.headers["x-action"]](context);
`;

describe.each(Object.entries(WEB_RUNTIMES))("%s by frames", (_name, found) => {
  beforeEach((context) => {
    const reason = missing(found);
    if (reason !== null) context.skip(reason);
  });

  async function start(environment: Record<string, string> = {}) {
    const folder = folderOf({ [FILE]: HANDLER });
    const client = await startLoadedWeb(found, { contract: "handler", directory: folder.path, entrypoint: FILE, environment });
    const of = (action: string) => ({
      headers: { "X-Action": action, "content-type": "application/json", "x-open-runtimes-a": "b" },
    });
    return {
      client,
      call: (action: string, body: Buffer | string = "", head: object = {}) => client.request({ ...of(action), ...head }, body),
      begin: (action: string) => client.startRequest(of(action)),
      async [Symbol.asyncDispose]() {
        await client[Symbol.asyncDispose]();
        folder[Symbol.dispose]();
      },
    };
  }

  test("answers requests with status, headers, body and log", async () => {
    await using server = await start({ GIVEN: "yes" });
    const hello = await server.call("hello", '{"name":"Zoë"}', { method: "POST" });
    expect(hello.response?.headers).toEqual([["content-type", "application/json; charset=utf-8"]]);
    expect(String(hello.response?.body)).toBe('{"hello":"Zoë","é":"ü"}');
    expect(hello.logs).toMatchObject([{ level: LEVEL.info, flags: 0, text: "called by Zoë" }]);
    const request = await server.call("request", "", { method: "PUT", url: "/a/b?c=%20d" });
    expect(JSON.parse(String(request.response?.body))).toEqual({
      method: "PUT",
      path: "/a/b",
      query: { c: "%20d" },
      host: "localhost",
      type: "application/json",
    });
    const { response } = await server.call("cookies");
    expect(response?.statusCode).toBe(201);
    expect(response?.headers).toEqual([
      ["set-cookie", "a=1"],
      ["set-cookie", "b=2"],
      ["content-type", "text/plain; charset=utf-8"],
    ]);
    expect((await server.call("empty")).response).toMatchObject({ statusCode: 204, body: Buffer.alloc(0) });
    expect(String((await server.call("environment")).response?.body)).toBe("yes");
    expect(server.client.violations).toEqual([]);
  });

  test("bodies of many sizes come and go whole, many at a time", async () => {
    await using server = await start();
    const sizes = [0, 1, 100, 65_530, 65_536, 300_000, 3_000_000];
    const bodies = sizes.map((size) => Buffer.alloc(size, "0123456789abcdef~"));
    const answers = await Promise.all([...bodies, ...bodies].map((body) => server.call("binary", body)));
    for (const [index, { response }] of answers.entries()) {
      expect(response?.body.equals(bodies[index % bodies.length] as Buffer)).toBe(true);
    }
    const many = await Promise.all(Array.from({ length: 500 }, (_, n) => server.call("hello", `{"name":"${n}"}`)));
    expect(many.map(({ logs }) => logs[0]?.text)).toEqual(many.map((_, n) => `called by ${n}`));
  });

  test("errors say what user code threw and where, and what cannot be a response", async () => {
    await using server = await start();
    const thrown = await server.call("throws");
    expect(thrown.error).toMatchObject({ code: "THREW", name: "RangeError", message: "on purpose", line: 12 });
    expect(thrown.error?.stack).toContain(FILE);
    expect(thrown.error?.stack).not.toMatch(/\/web\/|server\/main\.js/);
    expect(thrown.logs.map(({ level }) => level)).toEqual([LEVEL.info, LEVEL.error]);
    expect((await server.call("nothing")).error?.message).toContain("Return statement missing");
    expect((await server.call("badHeader")).error?.message).toContain("x-evil");
    expect((await server.call("hello", "{")).error?.message).toContain("JSON");
    expect((await server.call("large")).error).toMatchObject({ code: "RESULT_TOO_LARGE" });
    expect((await server.call("inTimer")).error).toMatchObject({ code: "THREW", message: "in timer" });
    expect(String((await server.call("late")).response?.body)).toBe("ok");
    await expect.poll(() => server.client.ownerless.map(({ text }) => text).join()).toContain("too late");
    expect(server.client.violations).toEqual([]);
  });

  test("what is printed is the log of its execution, cut where it is too long", async () => {
    await using server = await start();
    const answers = await Promise.all(["a", "b", "c"].map((name) => server.call("print", "", { url: `/${name}` })));
    expect(answers.map(({ logs }) => logs.map(({ text }) => text))).toEqual(
      ["a", "b", "c"].map((name) => Array(3).fill(`line of /${name}`)),
    );
    const [entry] = (await server.call("long")).logs;
    expect([entry?.flags, entry?.text.length]).toEqual([1, 8000]);
    expect((await server.call("print", "", { logging: false })).logs).toEqual([]);
  });

  test("CANCEL ends an execution and aborts its signal; PING is answered", async () => {
    await using server = await start();
    const { id, answer } = server.begin("wait");
    await server.client.ping();
    server.client.cancel(id);
    expect((await answer).cancelled).toEqual({ running: false });
    expect(String((await server.call("aborted")).response?.body)).toBe("1");
    expect(server.client.violations).toEqual([]);
  });

  test("what was logged before a loop without end is heard, and nothing answers after it", async () => {
    await using server = await start();
    const { answer } = server.begin("block");
    answer.catch(() => undefined);
    await expect.poll(() => server.client.entries.map(({ text }) => text)).toEqual(["still heard"]);
    let answered = false;
    server.client.ping().then(
      () => {
        answered = true;
      },
      () => undefined,
    );
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(answered).toBe(false);
    server.client.child.kill("SIGKILL");
    await server.client.exited;
  });

  test("says why code does not load", async () => {
    const codes: Record<string, string> = {
      "export default (": "SYNTAX_ERROR",
      "throw new TypeError('at the top')": "LOAD_FAILED",
      "export const other = 1;": "LOAD_FAILED",
      "import x from 'not-installed-anywhere'; export default () => x;": "MODULE_NOT_FOUND",
    };
    for (const [text, code] of Object.entries(codes)) {
      using folder = folderOf({ [FILE]: text });
      await using client = startWeb(found);
      const { errors } = await client.load({ contract: "handler", directory: folder.path, entrypoint: FILE });
      expect(errors[""]).toMatchObject({ code });
      expect((await client.request({})).error).toEqual(errors[""]);
    }
    using folder = folderOf({ [FILE]: HANDLER });
    await using client = startWeb(found);
    const { errors } = await client.load({ contract: "handler", directory: folder.path, entrypoint: "../other.ts" });
    expect(errors[""]).toMatchObject({ code: "LOAD_FAILED", message: expect.stringContaining("outside") });
  });

  test("the closed channel is the order to exit", async () => {
    await using server = await start();
    await server.client[Symbol.asyncDispose]();
    expect(await server.client.exited).toEqual({ code: 0, signal: null });
  });

  test("fetch goes through the host's proxy where egress is on", async () => {
    using folder = folderOf({});
    const path = join(folder.path, "egress.sock");
    const proxy = createServer((request, response) => response.end(`${request.method} ${request.url}`));
    await new Promise<void>((resolve) => proxy.listen(path, resolve));
    await using server = await start({ TREADLE_EGRESS: "1", TREADLE_EGRESS_SOCKET: path });
    expect(String((await server.call("fetch")).response?.body)).toBe("GET http://example.test/path");
    proxy.closeAllConnections();
    proxy.close();
  });
});
