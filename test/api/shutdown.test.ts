import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { send } from "../harness/http.ts";
import { Place } from "../harness/place.ts";

const SLOW = "console.log('begun'); await new Promise((done) => setTimeout(done, ms)); return ms";
const parameters = { ms: { type: "integer" } };

describe("SIGTERM", () => {
  test("lets a call under way end, refuses new ones, leaves nothing", async () => {
    await using place = new Place();
    const server = await place.start();
    await server.save("w", {
      node: { code: SLOW, parameters },
      python: { language: "python", code: "import time\nprint('begun')\ntime.sleep(ms / 1000)\nreturn ms", parameters },
    });
    await server.result("w", "node", { ms: 1 });
    await server.result("w", "python", { ms: 1 });
    const running = [server.run("w", "node", { ms: 2_000 }), server.run("w", "python", { ms: 2_000 })];
    await delay(300);
    place.observe();
    const signalled = performance.now();
    server.child.kill("SIGTERM");
    await delay(200);
    const late = await send(server.port, "POST", "/v2/functions/w/run/node", { parameters: { ms: 1 } }).catch(
      (error: Error) => error,
    );
    if (!(late instanceof Error)) expect([late.status, late.code]).toEqual([503, "SERVER_BUSY"]);
    for (const answer of await Promise.all(running))
      expect([answer.status, answer.json.result, answer.logs]).toEqual([200, 2_000, ["begun"]]);
    expect(await server.exited).toEqual({ code: 0, signal: null });
    expect(performance.now() - signalled).toBeLessThan(10_000);
    expect(await place.leftovers()).toEqual([]);

    const again = await place.start();
    const { executions } = (await again.send("GET", "/api/v1/executions?workspace=w")).json as unknown as {
      executions: unknown[];
    };
    expect(executions).toHaveLength(4);
    place.observe();
    await again.stop();
    expect(await place.leftovers()).toEqual([]);
  });

  test("does not wait longer than it was told for a call that does not end", async () => {
    await using place = new Place();
    const server = await place.start({ "shutdown-timeout": "500", prewarmed: "0" });
    await server.save("w", { node: { code: SLOW, parameters }, stuck: { code: "for (;;);" } });
    const running = [server.run("w", "node", { ms: 15_000 })];
    await delay(300);
    running.push(server.run("w", "stuck"));
    await delay(300);
    place.observe();
    const signalled = performance.now();
    server.child.kill("SIGTERM");
    for (const answer of await Promise.allSettled(running)) {
      if (answer.status === "fulfilled") expect([503]).toContain(answer.value.status);
    }
    expect(await server.exited).toEqual({ code: 0, signal: null });
    expect(performance.now() - signalled).toBeLessThan(8_000);
    expect(await place.leftovers()).toEqual([]);
  });

  test("is obeyed with idle and half-sent connections open", async () => {
    await using place = new Place();
    const server = await place.start({ prewarmed: "0" });
    const { connect } = await import("node:net");
    const sockets = [
      "",
      "POST /v2/functions/w HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{",
    ].map((bytes) => {
      const socket = connect({ host: "127.0.0.1", port: server.port });
      socket.on("error", () => undefined);
      socket.write(bytes);
      return socket;
    });
    await delay(200);
    place.observe();
    const signalled = performance.now();
    expect(await server.stop()).toEqual({ code: 0, signal: null });
    expect(performance.now() - signalled).toBeLessThan(6_000);
    for (const socket of sockets) socket.destroy();
    expect(await place.leftovers()).toEqual([]);
  });

  test("during the start ends it cleanly", async () => {
    await using place = new Place();
    const started = place.start({}, {}, { onSpawn: (child) => setTimeout(() => child.kill("SIGTERM"), 400) });
    const outcome = await started.then(
      (server) => server.exited,
      (error: { exit?: unknown }) => error.exit,
    );
    expect(outcome).toBeDefined();
    expect(await place.leftovers()).toEqual([]);
  });
});

test("a restart keeps every workspace as it was, in every detail", async () => {
  await using place = new Place();
  const first = await place.start({ prewarmed: "0" });
  await first.save("plain", {
    f: { code: "return x + 1", parameters: { x: { type: "integer", default: 4 } } },
    p: { language: "python", code: "return 'p'" },
  });
  await first.send("PUT", "/api/v1/workspaces/handler", {
    functions: {
      h: {
        contract: "handler",
        files: [{ path: "index.js", text: "module.exports = (c) => c.res.text('ok')" }],
        settings: { timeoutMs: 777 },
      },
    },
  });
  await first.save("deleted", { f: { code: "return 1" } });
  await first.send("DELETE", "/v2/functions/deleted");
  const before = await Promise.all(["plain", "handler"].map((name) => first.send("GET", `/api/v1/workspaces/${name}`)));
  place.observe();
  await first.stop();
  const second = await place.start({ prewarmed: "0" });
  const after = await Promise.all(["plain", "handler"].map((name) => second.send("GET", `/api/v1/workspaces/${name}`)));
  expect(after.map((answer) => answer.json)).toEqual(before.map((answer) => answer.json));
  expect(await second.result("plain", "f")).toBe(5);
  expect(await second.result("plain", "p")).toBe("p");
  const response = await second.send("POST", "/api/v1/workspaces/handler/functions/h/executions", { request: {} });
  expect(response.json).toMatchObject({ response: { statusCode: 200, body: "ok" } });
  expect((await second.run("deleted", "f")).code).toBe("UNKNOWN_WORKSPACE");
  place.observe();
  await second.stop();
  expect(await place.leftovers()).toEqual([]);
});
