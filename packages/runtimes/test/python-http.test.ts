import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { pythonCommand } from "./python-server.ts";

interface Reply {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: Buffer;
}

/** A runtime server for one handler, listening on a unix socket. */
class HttpServer implements AsyncDisposable {
  readonly folder: string;
  readonly socket: string;
  readonly child: ChildProcess;
  output = "";

  private constructor(folder: string, child: ChildProcess) {
    this.folder = folder;
    this.socket = join(folder, "http.sock");
    this.child = child;
  }

  static async start(source: string, environment: Record<string, string> = {}): Promise<HttpServer> {
    const folder = await mkdtemp(join(tmpdir(), "treadle-python-http-"));
    await writeFile(join(folder, "main.py"), source);
    const [program = "", ...rest] = pythonCommand("http");
    const child = spawn(program, rest, {
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        PATH: "/usr/bin:/bin",
        TREADLE_CODE: folder,
        TREADLE_SOCKET: join(folder, "http.sock"),
        TREADLE_LOGS: folder,
        ...environment,
      },
    });
    const server = new HttpServer(folder, child);
    child.stderr?.on("data", (text) => {
      server.output += text;
    });
    await new Promise<void>((resolve, reject) => {
      child.once("exit", () => reject(new Error(`The server ended. ${server.output}`)));
      child.stdout?.on("data", (text) => {
        server.output += text;
        if (server.output.includes("HTTP server successfully started!")) resolve();
      });
    });
    return server;
  }

  call(path: string, headers: Record<string, string> = {}, body: Buffer | string = "", method = "POST"): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const sent = request(
        { socketPath: this.socket, path, headers: { host: "h:3000", ...headers }, method, agent: false },
        (got) => {
          const pieces: Buffer[] = [];
          got.on("data", (piece) => pieces.push(piece));
          got.on("end", () => resolve({ status: got.statusCode ?? 0, headers: got.headers, body: Buffer.concat(pieces) }));
        },
      );
      sent.on("error", reject);
      sent.end(body);
    });
  }

  /** Sends bytes as they are; resolves to all that comes back. */
  raw(text: string): Promise<string> {
    return new Promise((resolve, reject) => {
      let back = "";
      const socket = connect(this.socket, () => socket.write(text));
      socket.setEncoding("latin1").on("data", (piece) => {
        back += piece;
      });
      socket.on("end", () => socket.end());
      socket.on("close", () => resolve(back));
      socket.on("error", reject);
    });
  }

  log(id: string, kind: "logs" | "errors"): string {
    const file = join(this.folder, `${id}_${kind}.log`);
    return existsSync(file) ? readFileSync(file, "utf8") : "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const gone = once(this.child, "exit");
      this.child.kill("SIGKILL");
      await gone;
    }
    await rm(this.folder, { recursive: true });
  }
}

const ID = "x-open-runtimes-log-id";

const ACTIONS = `
import asyncio, time
async def wait(context):
    context.log("Timeout start.")
    await asyncio.sleep(float(context.req.body))
    context.log("Timeout end.")
    return context.res.text("waited")
def main(context):
    action = context.req.path
    if action == "/spin":
        while True: pass
    if action == "/block": time.sleep(1.5)
    if action == "/wait": return wait(context)
    if action == "/throw":
        context.log("Before error...")
        raise Exception("Error!")
    if action == "/none": return None
    if action == "/logs":
        print("Native log")
        context.log("Debug log", {"objectKey": 1}); context.error("Error log"); context.log("A" * 9000)
    if action == "/print":
        for i in range(20): print(context.req.body, i)
    if action == "/late":
        import threading
        threading.Timer(0.05, lambda: 1 / 0).start()
    if action == "/length": return context.res.text(str(len(context.req.body_binary)))
    if action == "/cookies": return context.res.text("", 200, {"set-cookie": ["a=1", "b=2"], "x-open-runtimes-own": "1"})
    return context.res.json({"headers": context.req.headers, "body": context.req.body_text, "url": context.req.url})
`;

test("health, timings, secret and timeout headers", async () => {
  await using server = await HttpServer.start(ACTIONS, { OPEN_RUNTIMES_SECRET: "secret" });
  expect(await server.call("/__opr/health", {}, "", "GET")).toMatchObject({ status: 200, body: Buffer.from("OK") });
  expect((await server.call("/__opr/timings", {}, "", "GET")).body.toString()).toMatch(/^(\w+=\d+\.\d+\n)+$/);
  for (const headers of [{}, { "x-open-runtimes-secret": "wrong" }, { "x-open-runtimes-secret": "secret2", [ID]: "../x" }]) {
    const refused = await server.call("/", headers as Record<string, string>);
    expect(refused).toMatchObject({ status: 500 });
    expect(refused.body.toString()).toContain("Unauthorized");
  }
  for (const timeout of ["abcd", "0", "-1", "1.5", "99999999999999999999", "٣"]) {
    const refused = await server.raw(
      `POST / HTTP/1.1\r\nhost: h\r\nx-open-runtimes-secret: secret\r\nx-open-runtimes-timeout: ${timeout}\r\nconnection: close\r\n\r\n`,
    );
    expect(refused).toMatch(/^HTTP\/1\.1 500 [\s\S]*must be an integer greater than 0\.$/);
  }
  expect((await server.call("/", { "x-open-runtimes-secret": "secret", "x-open-runtimes-timeout": "5" })).status).toBe(200);
});

test("the runtime's headers are hidden, enforced ones forced, and stripped from answers", async () => {
  await using server = await HttpServer.start(ACTIONS, {
    OPEN_RUNTIMES_HEADERS: '{"X-Custom":"value","x-open-runtimes-custom":248}',
  });
  const { headers, url, body } = JSON.parse(
    (await server.call("/a?b=c#d", { "X-CUSTOM": "sent", "x-open-runtimes-hidden": "1", cookie: "a=b" }, "text")).body.toString(),
  );
  expect(headers).toMatchObject({ "x-custom": "value", "x-open-runtimes-custom": "248", cookie: "a=b" });
  expect(headers).not.toHaveProperty("x-open-runtimes-hidden");
  expect([url, body]).toEqual(["http://h:3000/a?b=c", "text"]);
  const cookies = await server.call("/cookies");
  expect(cookies.headers["set-cookie"]).toEqual(["a=1", "b=2"]);
  expect(cookies.headers).not.toHaveProperty("x-open-runtimes-own");
});

test("a throw, no return value and a load error: status, empty body and the reason in the error log", async () => {
  await using server = await HttpServer.start(ACTIONS);
  const thrown = await server.call("/throw");
  const id = String(thrown.headers[ID]);
  expect([thrown.status, thrown.body.length, id.length]).toEqual([500, 0, 20]);
  expect(server.log(id, "logs")).toBe("Before error...\n");
  expect(server.log(id, "errors")).toMatch(/main\.py", line \d+, in main[\s\S]*Exception: Error!/);
  const none = await server.call("/none", { [ID]: "none" });
  expect([none.status, none.body.length]).toEqual([500, 0]);
  expect(server.log("none", "errors")).toContain("Return statement missing.");
  for (const source of ["def main(:\n", "x = 1\n", "import nosuchpackage\n", "raise ValueError('x')\n"]) {
    await using broken = await HttpServer.start(source);
    const answer = await broken.call("/", { [ID]: "load" });
    expect([answer.status, answer.body.length]).toEqual([503, 0]);
    expect(broken.log("load", "errors")).not.toBe("");
  }
});

test("timeouts end loops, sleeps and waits, and the server goes on", async () => {
  await using server = await HttpServer.start(ACTIONS);
  for (const [path, body] of [
    ["/spin", ""],
    ["/block", ""],
    ["/wait", "9"],
  ] as const) {
    const begun = performance.now();
    const answer = await server.call(path, { "x-open-runtimes-timeout": "1", [ID]: path.slice(1) }, body);
    expect(performance.now() - begun).toBeLessThan(1450);
    expect([answer.status, answer.body.length]).toEqual([500, 0]);
    expect(server.log(path.slice(1), "errors")).toContain("Execution timed out.");
  }
  expect(server.log("wait", "logs")).toBe("Timeout start.\n");
  const fine = await server.call("/wait", { "x-open-runtimes-timeout": "5" }, "0.1");
  expect(fine).toMatchObject({ status: 200, body: Buffer.from("waited") });
});

test("logs: files by id, native lines, cut entries, switched off, development, and no way out of the folder", async () => {
  await using server = await HttpServer.start(ACTIONS);
  await server.call("/logs", { [ID]: "customLogs" });
  expect(server.log("customLogs", "logs")).toMatch(
    /^Native logs detected\..*\nNative log\nDebug log \{"objectKey":1\}\nA{8000}\.\.\. Log truncated/,
  );
  expect(server.log("customLogs", "errors")).toBe("Error log\n");
  const off = await server.call("/logs", { [ID]: "noLogs", "x-open-runtimes-logging": "disabled" });
  expect([off.status, off.headers[ID], server.log("noLogs", "logs")]).toEqual([200, "", ""]);
  const before = readdirSync(join(server.folder, "..")).length;
  for (const id of ["../x", "a/b", "..", "a".repeat(300), "a%00"]) {
    const answer = await server.call("/logs", { [ID]: id });
    expect(String(answer.headers[ID])).toMatch(/^[0-9a-f]{20}$/);
  }
  expect(readdirSync(join(server.folder, "..")).length).toBeLessThanOrEqual(before + 2);
  expect(existsSync(join(server.folder, "../x_logs.log"))).toBe(false);
  await using development = await HttpServer.start(ACTIONS, { OPEN_RUNTIMES_ENV: "development" });
  expect((await development.call("/logs")).headers[ID]).toBe("dev");
  expect(development.log("dev", "errors")).toBe("Error log\n");
});

test("200 concurrent calls with 20 lines each keep their lines; a late throw harms nobody", async () => {
  await using server = await HttpServer.start(ACTIONS);
  await server.call("/late");
  await Promise.all(Array.from({ length: 200 }, (_, n) => server.call("/print", { [ID]: `call${n}` }, `n${n}`)));
  for (let n = 0; n < 200; n++) {
    const lines = server.log(`call${n}`, "logs").trimEnd().split("\n").slice(1);
    expect(lines).toEqual(Array.from({ length: 20 }, (_, i) => `n${n} ${i}`));
  }
  // No descriptor stays open behind the calls, nor behind refused ones.
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(readdirSync(`/proc/${server.child.pid}/fd`).length).toBeLessThan(20);
});

test("bodies: large, chunked, too large", async () => {
  await using server = await HttpServer.start(ACTIONS);
  const large = Buffer.alloc(17 * 1024 * 1024, 7);
  expect((await server.call("/length", {}, large)).body.toString()).toBe(String(large.length));
  const chunked = await server.call("/length", { "transfer-encoding": "chunked" }, large);
  expect(chunked.body.toString()).toBe(String(large.length));
  expect((await server.call("/length", {}, Buffer.alloc(20 * 1024 * 1024 + 1))).status).toBe(413);
  expect((await server.call("/length", { "transfer-encoding": "chunked" }, Buffer.alloc(20 * 1024 * 1024 + 1))).status).toBe(413);
});

test("malformed requests get a 4xx or 5xx of their own, and nothing hidden in them is served", async () => {
  await using server = await HttpServer.start(ACTIONS);
  const head = "POST / HTTP/1.1\r\nhost: h\r\n";
  const cases: [string, number][] = [
    ["nonsense\r\n\r\n", 400],
    ["GET / HTTP/2.0\r\nhost: h\r\n\r\n", 505],
    ["GET /\r\n\r\n", 400],
    ["GET / HTTP/1.1\r\n\r\n", 400],
    [`${head}host: i\r\n\r\n`, 400],
    [`${head}bad header\r\n\r\n`, 400],
    [`${head}bad : x\r\n\r\n`, 400],
    [`${head} folded: x\r\n\r\n`, 400],
    [`${head}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
    [`${head}content-length: +5\r\n\r\nhello`, 400],
    [`${head}content-length: 5\r\ncontent-length: 5\r\n\r\nhello`, 400],
    [`${head}transfer-encoding: chunked\r\n\r\nzz\r\n`, 400],
    [`${head}transfer-encoding: chunked\r\n\r\n3\r\nabcdGET /__opr/health HTTP/1.1\r\n\r\n`, 400],
    [`${head}transfer-encoding: gzip, chunked\r\n\r\n`, 501],
    [`${head}x: ${"y".repeat(70_000)}\r\n\r\n`, 431],
    [`${head}${"a: b\r\n".repeat(300)}\r\n`, 431],
    [`${head}expect: wonders\r\n\r\n`, 417],
  ];
  for (const [text, status] of cases) {
    const back = await server.raw(text);
    expect(back.match(/HTTP\/1\.1 \d+/g), text.slice(0, 60)).toEqual([`HTTP/1.1 ${status}`]);
  }
  // Two requests on one connection, and a HEAD without a body.
  const two = await server.raw(`${head}content-length: 1\r\n\r\na${head}connection: close\r\n\r\n`);
  expect(two.match(/HTTP\/1\.1 200/g)).toHaveLength(2);
  expect(await server.raw("HEAD / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")).toMatch(/\r\n\r\n$/);
});

test("listens on a port, too, and a slow client holds back nobody", async () => {
  const port = 20_000 + Math.floor(Math.random() * 20_000);
  await using server = await HttpServer.start(ACTIONS, { TREADLE_SOCKET: "", TREADLE_LISTEN: "127.0.0.1", PORT: String(port) });
  const slow = Array.from({ length: 50 }, () =>
    connect(port, "127.0.0.1", function (this: import("node:net").Socket) {
      this.write("GET / HTTP/1.1\r\nho");
    }),
  );
  for (const socket of slow) socket.on("error", () => {});
  const answer = await fetch(`http://127.0.0.1:${port}/x?y=z`);
  expect(((await answer.json()) as { url: string }).url).toBe(`http://127.0.0.1:${port}/x?y=z`);
  for (const socket of slow) socket.destroy();
  expect(server.child.exitCode).toBe(null);
});

test("over HTTP there are no files, and that is said", async () => {
  await using server = await HttpServer.start(`def main(context):
    told = []
    for attempt in (lambda: context.save_file(name="n", content="x"), lambda: context.open_file("id")):
        try:
            attempt()
        except RuntimeError as error:
            told.append(str(error))
    return context.res.json(told)`);
  const said = "is not available here: not over HTTP, and not in a child process";
  expect(JSON.parse((await server.call("/")).body.toString())).toEqual([`save_file ${said}`, `open_file ${said}`]);
});
