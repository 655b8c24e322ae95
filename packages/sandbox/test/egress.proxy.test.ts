import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, request, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { EgressProxy } from "../src/egress/egress-proxy.ts";
import { type Lookup, resolveDestination } from "../src/egress/resolve.ts";
import { type EgressPolicy, egressRelayPath } from "../src/index.ts";
import { openDriver, type TestDriver } from "./drivers.ts";
import { outcome, PYTHON, run, start } from "./programs.ts";

let directory: string;
let origin: Server;
let port: number;
const seen: IncomingMessage[] = [];
let opened: TestDriver;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "treadle-egress-"));
  origin = createServer(async (message, response) => {
    seen.push(message);
    const body = await text(message);
    if (message.url === "/away") response.writeHead(302, { location: "http://169.254.169.254/latest/meta-data/" }).end();
    else response.writeHead(200, { "x-answer": "yes" }).end(`${message.method} ${message.headers.host} ${message.url} ${body}`);
  });
  origin.listen(0, "127.0.0.1");
  await once(origin, "listening");
  port = (origin.address() as AddressInfo).port;
  opened = await openDriver();
});
afterAll(async () => {
  origin.closeAllConnections();
  origin.close();
  await opened[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

async function listen(policy: EgressPolicy, lookup?: Lookup): Promise<{ proxy: EgressProxy; path: string }> {
  const path = join(directory, `${Math.random().toString(36).slice(2, 10)}.sock`);
  return { proxy: await EgressProxy.listen(path, policy, lookup), path };
}

interface Reply {
  readonly status: number;
  readonly body: string;
}

/** One request in absolute form, as a client of an HTTP proxy sends it. */
async function forward(
  path: string,
  url: string,
  options: { method?: string; body?: string; headers?: Record<string, string> } = {},
): Promise<Reply> {
  const sent = request({
    socketPath: path,
    path: url,
    method: options.method ?? "GET",
    headers: { host: "wrong.example", ...options.headers },
  });
  sent.end(options.body);
  const [reply] = (await once(sent, "response")) as [IncomingMessage];
  return { status: reply.statusCode ?? 0, body: await text(reply) };
}

/** Asks for a tunnel; the socket is open when the status is 200. */
async function tunnel(path: string, authority: string): Promise<{ status: number; socket: Socket; body: string }> {
  const socket = connect(path);
  socket.on("error", () => {});
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  let head = "";
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    head += String(chunk);
    if (head.includes("\r\n\r\n")) break;
  }
  const [top = "", body = ""] = head.split("\r\n\r\n");
  return { status: Number(top.split(" ")[1]), socket, body };
}

test("plain requests and tunnels reach a trusted server", async () => {
  const { proxy, path } = await listen({ allow: [], trusted: [`127.0.0.1:${port}`] });
  await using _ = proxy;
  const reply = await forward(path, `http://127.0.0.1:${port}/a?b=c`, {
    method: "POST",
    body: "hello",
    headers: { "proxy-authorization": "x", connection: "close, x-hop", "x-hop": "1" },
  });
  // The name that was judged is the one the server is told.
  expect(reply).toEqual({ status: 200, body: `POST 127.0.0.1:${port} /a?b=c hello` });
  expect(Object.keys(seen.at(-1)?.headers ?? {})).not.toEqual(expect.arrayContaining(["proxy-authorization"]));
  expect(seen.at(-1)?.headers).not.toHaveProperty("x-hop");

  const { status, socket } = await tunnel(path, `127.0.0.1:${port}`);
  expect(status).toBe(200);
  socket.end("GET /through HTTP/1.1\r\nHost: inner\r\nConnection: close\r\n\r\n");
  expect(await text(socket)).toContain("GET inner /through");
  expect(proxy.counts).toEqual({ allowed: 2, denied: 0 });
});

test("what is not public is refused with a reason, in every spelling, and counted", async () => {
  const before = seen.length;
  const { proxy, path } = await listen({ allow: null, trusted: [] }, async (host) => (host === "localhost" ? ["127.0.0.1"] : []));
  await using _ = proxy;
  const hosts = [
    "127.0.0.1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "169.254.169.254",
    "10.0.0.1",
    "0.0.0.0",
    "localhost",
    "nowhere.example",
  ];
  for (const host of hosts) {
    const reply = await forward(path, `http://${host}/`);
    expect([host, reply.status]).toEqual([host, 403]);
    expect(JSON.parse(reply.body).error).toMatchObject({
      code: "EGRESS_DENIED",
      message: expect.stringContaining(host.replace(/[[\]]/g, "")),
    });
    const { status, body } = await tunnel(path, `${host}:443`);
    expect([host, status]).toEqual([host, 403]);
    expect(body).toContain("EGRESS_DENIED");
  }
  for (const odd of ["2130706433", "0x7f000001", "017700000001", "127.1", "0x7f.1"]) {
    expect((await forward(path, `http://${odd}/`)).status).toBe(400);
    expect((await tunnel(path, `${odd}:80`)).status).toBe(400);
  }
  expect((await forward(path, "http://8.8.8.8:25/")).status).toBe(403);
  expect((await forward(path, "/not-a-proxy-request")).status).toBe(400);
  expect((await forward(path, "https://example.com/")).status).toBe(400);
  expect(proxy.counts).toEqual({ allowed: 0, denied: hosts.length * 2 + 1 });
  expect(seen.length).toBe(before);
});

test("rebinding: a single private answer condemns the name, and the address that was checked is the one connected to", async () => {
  const before = seen.length;
  let lookups = 0;
  const answers: Record<string, string[][]> = {
    "mixed.example": [["93.184.215.14", "127.0.0.1"]],
    "mapped.example": [["::ffff:127.0.0.1"]],
    // A second question would be answered with an address where nothing listens.
    "turning.example": [["127.0.0.1"], ["127.0.0.99"]],
  };
  const lookup: Lookup = async (host) => {
    lookups++;
    return answers[host]?.shift() ?? [];
  };
  const policy = { allow: null, trusted: [`turning.example:${port}`] };
  const { proxy, path } = await listen(policy, lookup);
  await using _ = proxy;
  expect((await forward(path, "http://mixed.example/")).status).toBe(403);
  expect((await forward(path, "http://mapped.example/")).status).toBe(403);
  expect(seen.length).toBe(before);
  expect((await forward(path, `http://turning.example:${port}/`)).status).toBe(200);
  expect(lookups).toBe(3);

  // Public when it is checked: those very addresses are what the proxy gets to connect to.
  const turning: Lookup = async () => (lookups++ === 3 ? ["93.184.215.14"] : ["127.0.0.1"]);
  const destination = { host: "second.example", port: 80 };
  expect(await resolveDestination(policy, destination, turning)).toEqual(["93.184.215.14"]);
  expect(lookups).toBe(4);
  await expect(resolveDestination(policy, destination, turning)).rejects.toThrow("does not lead to a public address");
});

test("a redirect is the client's own next request, and judged like every other", async () => {
  const { proxy, path } = await listen({ allow: null, trusted: [`origin.example:${port}`] }, async () => ["127.0.0.1"]);
  await using _ = proxy;
  expect((await forward(path, `http://origin.example:${port}/away`)).status).toBe(302);
  expect((await forward(path, "http://169.254.169.254/latest/meta-data/")).status).toBe(403);
});

test("a changed policy cuts open tunnels; malformed and huge requests end only themselves", async () => {
  const { proxy, path } = await listen({ allow: [], trusted: [`127.0.0.1:${port}`] });
  await using _ = proxy;
  const { socket } = await tunnel(path, `127.0.0.1:${port}`);
  const closed = once(socket, "close");
  proxy.setPolicy({ allow: [], trusted: [] });
  await closed;
  expect((await forward(path, `http://127.0.0.1:${port}/`)).status).toBe(403);
  for (const bytes of ["nonsense\r\n\r\n", `GET http://a/ HTTP/1.1\r\nX: ${"y".repeat(40_000)}\r\n\r\n`, "\0\0\0\0"]) {
    const broken = connect(path);
    broken.on("error", () => {});
    broken.end(bytes);
    broken.resume();
    await once(broken, "close");
  }
  proxy.setPolicy({ allow: [], trusted: [`127.0.0.1:${port}`] });
  expect((await forward(path, `http://127.0.0.1:${port}/`)).status).toBe(200);
});

const PROBE = `import http.client, json, socket, sys
class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX); self.sock.connect("/run/treadle/egress.sock")
for url in sys.argv[1:]:
    try:
        c = Unix("proxy"); c.request("GET", url); print(c.getresponse().status, flush=True)
    except OSError as error: print(type(error).__name__, flush=True)`;

test("in a sandbox: no way out by default, one through the proxy when asked for, changed while it runs", async () => {
  const urls = [`http://127.0.0.1:${port}/`, "http://169.254.169.254/"];
  const closed = await run(opened.driver, [PYTHON, "-c", PROBE, ...urls]);
  expect(closed.stdout).toBe("FileNotFoundError\nFileNotFoundError\n");
  const open = await run(opened.driver, [PYTHON, "-c", PROBE, ...urls], {
    egress: { allow: null, trusted: [`127.0.0.1:${port}`] },
  });
  expect(open.stdout).toBe("200\n403\n");

  const stepwise = `${PROBE.replace("for url in sys.argv[1:]:", "for url in iter(lambda: socket.socket(fileno=3).recv(100).decode() if False else __import__('os').read(3, 200).decode(), ''):")}`;
  await using sandbox = await start(opened.driver, [PYTHON, "-c", stepwise]);
  const lines = sandbox.stdout.iterator({ destroyOnReturn: false })[Symbol.asyncIterator]();
  const ask = async () => {
    sandbox.channel.write(urls[0] as string);
    return String((await lines.next()).value).trim();
  };
  expect(await ask()).toBe("FileNotFoundError");
  await sandbox.setEgress({ allow: [], trusted: [`127.0.0.1:${port}`] });
  expect(await ask()).toBe("200");
  await sandbox.setEgress({ allow: [], trusted: [] });
  expect(await ask()).toBe("403");
  await sandbox.setEgress(null);
  expect(await ask()).toBe("FileNotFoundError");
  expect(sandbox.egressCounts()).toEqual({ allowed: 1, denied: 1 });
});

test("the relay gives ordinary clients the proxy, passes exit status, signals and the channel on", async () => {
  const mounts = [{ source: egressRelayPath, target: "/opt/relay.mjs", access: "read-only" as const }];
  const egress = { allow: null, trusted: [`origin.example:${port}`, `127.0.0.1:${port}`] };
  const relayed = (...command: string[]) => ["/usr/bin/node", "/opt/relay.mjs", "--", ...command];
  // NO_PROXY names loopback for the client's own servers; this origin lies there only because it is a test's.
  const environment = { PATH: "/usr/bin", NO_PROXY: "", no_proxy: "" };
  const python = `import os, urllib.request, urllib.error
print(urllib.request.urlopen("http://127.0.0.1:${port}/from-python").status)
try: urllib.request.urlopen("http://127.0.0.1:${port}/away")
except urllib.error.HTTPError as error: print(error.code)
os.write(3, b"channel")
raise SystemExit(7)`;
  await using sandbox = await start(opened.driver, relayed(PYTHON, "-c", python), { mounts, egress, environment });
  const [channel, stdout, exit] = await Promise.all([text(sandbox.channel), text(sandbox.stdout), sandbox.exited]);
  expect([stdout, channel, exit.code]).toEqual(["200\n403\n", "channel", 7]);

  const javascript = `const r = await fetch("http://127.0.0.1:${port}/from-node"); console.log(r.status, await r.text());
await fetch("http://10.0.0.1/").catch(() => console.log("denied")); process.kill(process.pid, "SIGTERM"); setInterval(() => {}, 1000);`;
  const result = await run(opened.driver, relayed("/usr/bin/node", "--input-type=module", "-e", javascript), {
    mounts,
    egress,
    environment,
  });
  expect(result).toMatchObject({
    stdout: `200 GET 127.0.0.1:${port} /from-node \ndenied\n`,
    code: null,
    signal: "SIGTERM",
  });

  await using waiting = await start(opened.driver, relayed("/usr/bin/nothing"), { mounts, egress, environment });
  expect(await outcome(waiting)).toMatchObject({ code: 127 });
  expect(await readFile(egressRelayPath, "utf8")).not.toMatch(/from "[^n]/);
});
