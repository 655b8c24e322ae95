import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { BodyTimeLimits } from "../src/body-time-limits.ts";

const TIMES = { whole: 400, idle: 400, look: 50 };
let limits: BodyTimeLimits;
const onRequest = (request: IncomingMessage, response: ServerResponse) => {
  limits.begin(response);
  if (request.url === "/long") limits.allowLong(request);
  if (request.url === "/busy") limits.allowLong(request);
  else request.resume();
  request.on("error", () => {});
  request.on("end", () => response.end("whole"));
  if (request.url === "/answered") {
    limits.allowLong(request);
    response.end("refused");
  }
};
let server: Server;
let socket: Socket;
let text = "";
let closedAt: number | null = null;
const begun = () => performance.now();

beforeEach(async () => {
  server = createServer({ requestTimeout: 0 }, onRequest);
  limits = new BodyTimeLimits(server, TIMES);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  text = "";
  closedAt = null;
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  socket.on("error", () => {});
  socket.on("close", () => (closedAt = performance.now()));
});
afterEach(async () => {
  socket.removeAllListeners("close");
  socket.destroy();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const head = (path: string, length: number) => `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${length}\r\n\r\n`;

async function trickle(count: number, everyMs: number): Promise<void> {
  for (let sent = 0; sent < count; sent++) {
    await delay(everyMs);
    socket.write("x");
  }
}

test("a body that trickles is ended after its time in all", async () => {
  const start = begun();
  socket.write(head("/", 100));
  await trickle(12, 100);
  expect(closedAt).not.toBeNull();
  expect((closedAt ?? 0) - start).toBeGreaterThan(TIMES.whole);
  expect(text).not.toContain("whole");
});

test("a long body may trickle as long as it likes", async () => {
  socket.write(head("/long", 12));
  await trickle(12, 100);
  await delay(50);
  expect(text).toContain("whole");
});

test("a long body that pauses is ended", async () => {
  socket.write(head("/long", 100));
  await trickle(8, 100);
  expect(closedAt).toBeNull();
  await delay(700);
  expect(closedAt).not.toBeNull();
});

test("a long body that waits for us is not ended", async () => {
  socket.write(head("/busy", 1_000));
  socket.write("x".repeat(500));
  await delay(1_000);
  expect(closedAt).toBeNull();
});

test("a long body goes on for no longer than others once it is answered", async () => {
  socket.write(head("/answered", 100));
  await trickle(12, 100);
  expect(text).toContain("refused");
  expect(text).not.toContain("408");
  expect(closedAt).not.toBeNull();
});

test("requests that come whole, one after the other on one connection, are left alone", async () => {
  for (let round = 0; round < 12; round++) {
    socket.write(`${head("/", 1)}x`);
    await delay(60);
  }
  expect(closedAt).toBeNull();
  expect(text.match(/whole/g)).toHaveLength(12);
});
