import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { createSandboxDriver } from "../src/index.ts";
import { openDriver } from "./drivers.ts";
import { connectionAttempts, echoes, LISTENER, listening } from "./inner-socket-attempts.ts";
import { PYTHON, start } from "./programs.ts";

test("the host reaches a socket that a program inside listens on", async () => {
  await using opened = await openDriver();
  expect(await echoes(opened.driver)).toBe("HELLO");
});

test("with the driver none as well", async () => {
  const stateDirectory = await mkdtemp(join(tmpdir(), "ts-"));
  await using driver = await createSandboxDriver("none", { stateDirectory, warn: () => {} });
  await using sandbox = await driver.spawn({
    command: [PYTHON, "-c", LISTENER, "/tmp/http.sock"],
    environment: {},
    workingDirectory: "/tmp",
    root: { executables: [], system: [] },
    mounts: [],
    limits: { memoryBytes: 1e9, processes: 10, cpus: null, scratchBytes: 1e6, openFiles: 64 },
    egress: null,
  });
  await listening(sandbox);
  const socket = await sandbox.connect("/tmp/http.sock");
  socket.end("hello");
  expect(await text(socket)).toBe("HELLO");
  await rm(stateDirectory, { recursive: true, force: true });
});

test("what user code puts in the place of its socket is not opened, wherever it leads", async () => {
  await using opened = await openDriver();
  const { results, connections, opens } = await connectionAttempts(opened.driver);
  expect(results).toEqual({
    link: "ENOTSOCK",
    linkToOwn: "ENOTSOCK",
    fifo: "ENOTSOCK",
    file: "ENOTSOCK",
    directory: "ENOTSOCK",
    missing: "ENOENT",
    closed: "ECONNREFUSED",
    parent: "RangeError",
    nested: "RangeError",
    elsewhere: "RangeError",
    abstract: "RangeError",
    abstractBelow: "RangeError",
  });
  expect([connections, opens]).toEqual([0, false]);
});

test("after its end there is nothing to connect to, and nothing stays open", async () => {
  await using opened = await openDriver();
  const sandbox = await start(opened.driver, [PYTHON, "-c", LISTENER, "/tmp/http.sock"]);
  await listening(sandbox);
  await sandbox.kill();
  await expect(sandbox.connect("/tmp/http.sock")).rejects.toThrow();
});

test("connections beyond the backlog wait for their turn", async () => {
  await using opened = await openDriver();
  const code = `import socket, sys, time
server = socket.socket(socket.AF_UNIX); server.bind("/tmp/http.sock"); server.listen(1)
print("listening", flush=True)
time.sleep(0.1)
for _ in range(8):
  client, _ = server.accept(); client.sendall(b"in turn"); client.close()`;
  await using sandbox = await start(opened.driver, [PYTHON, "-c", code]);
  await listening(sandbox);
  const all = await Promise.all(
    Array.from({ length: 8 }, async () => {
      const socket = await sandbox.connect("/tmp/http.sock");
      socket.on("error", () => {});
      return text(socket);
    }),
  );
  expect(all).toEqual(Array(8).fill("in turn"));
});
