import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "vitest";
import { familyOf } from "../../harness/processes.ts";
import type { Behaviour } from "../behaviour.ts";
import type { RuntimeServer } from "../runtime-server.ts";

/** Open files of a server and of all it started. */
function openFiles(server: RuntimeServer): number {
  return familyOf(server.pid).reduce(
    (sum, { pid }) => sum + (existsSync(`/proc/${pid}/fd`) ? readdirSync(`/proc/${pid}/fd`).length : 0),
    0,
  );
}

const firstLine = (text: string) => text.split("\n", 1)[0];

/** What the runtime does beside user code: its own paths and headers, starting and ending. */
export const CONTROL: readonly Behaviour[] = [
  {
    name: "health and timings are not authenticated",
    check: async (subject) => {
      const server = await subject.server();
      const health = await server.send({ path: "/__opr/health", secret: false });
      expect(health.status).toBe(200);
      expect(health.text).toBe("OK");
      const timings = await server.send({ path: "/__opr/timings", secret: false });
      expect(timings.status).toBe(200);
      expect(timings.headers["content-type"]).toMatch(/^text\/plain/);
      for (const line of timings.text.split("\n").filter((each) => each !== "")) expect(line).toMatch(/^[A-Za-z0-9_-]+=[0-9.]+$/);
    },
  },
  {
    name: "a wrong or missing secret is refused",
    needs: ["plainText"],
    check: async (subject) => {
      const server = await subject.server();
      const wrong = [{}, { "x-open-runtimes-secret": "wrong" }, { "x-open-runtimes-secret": "a-secret-of-the-suitf" }];
      for (const headers of wrong as Record<string, string>[]) {
        const reply = await server.send({ action: "plainText", secret: false, headers });
        expect(reply.status).toBe(500);
        expect(reply.text).toContain("Unauthorized");
        expect(reply.headers["content-type"]).toMatch(/^text\/plain/);
      }
    },
  },
  {
    name: "an empty secret is not checked",
    needs: ["plainText"],
    check: async (subject) => {
      const server = await subject.server({ environment: { OPEN_RUNTIMES_SECRET: "", OPEN_RUNTIMES_ENV: "development" } });
      expect((await server.send({ action: "plainText", secret: false })).text).toBe("Hello World 👋");
    },
  },
  {
    name: "many requests with a wrong secret leak no descriptors",
    needs: ["plainText"],
    place: "process",
    check: async (subject) => {
      const server = await subject.server();
      const ask = () =>
        server.send({ action: "plainText", body: "a body", headers: { "x-open-runtimes-secret": "wrong" }, secret: false });
      for (let i = 0; i < 20; i++) await ask();
      await delay(100);
      const before = openFiles(server);
      for (let i = 0; i < 15; i++) await Promise.all(Array.from({ length: 20 }, ask));
      await expect.poll(() => openFiles(server), { timeout: 8000 }).toBeLessThan(before + 25);
    },
  },
  {
    name: "a timeout that is no whole number of seconds is refused",
    needs: ["plainText"],
    check: async (subject) => {
      const server = await subject.server();
      for (const timeout of ["0", "-1", "1.5", "abc", "2147484", "99999999999999999999"]) {
        const reply = await server.send({ action: "plainText", headers: { "x-open-runtimes-timeout": timeout } });
        expect(reply.status, timeout).toBe(500);
        expect(reply.text, timeout).not.toBe("");
        expect(reply.text, timeout).not.toContain("Hello");
      }
      for (const timeout of ["1", "2147483"]) {
        const reply = await server.send({ action: "plainText", headers: { "x-open-runtimes-timeout": timeout } });
        expect(reply.text, timeout).toBe("Hello World 👋");
      }
    },
  },
  {
    name: "a timeout ends the execution, not the server",
    needs: ["sleep"],
    check: async (subject) => {
      const server = await subject.server();
      const begun = Date.now();
      const reply = await server.send({ action: "sleep", headers: { "x-ms": "3000", "x-open-runtimes-timeout": "1" } });
      expect(Date.now() - begun).toBeLessThan(2800);
      expect(reply.status).toBe(500);
      expect(reply.text).toBe("");
      expect(await server.errorsOf(reply.logId)).toContain("Execution timed out.");
      expect((await server.send({ action: "sleep", headers: { "x-ms": "1", "x-open-runtimes-timeout": "5" } })).text).toBe(
        "slept",
      );
    },
  },
  {
    name: "logging is enabled or disabled, nothing else",
    needs: ["plainText"],
    check: async (subject) => {
      const server = await subject.server();
      const reply = await server.send({ action: "plainText", headers: { "x-open-runtimes-logging": "maybe" } });
      expect(reply.status).toBe(500);
      expect(reply.text).not.toBe("");
      expect(reply.text).not.toContain("Hello");
    },
  },
  {
    name: "the log id that is asked for is answered",
    needs: ["plainText"],
    check: async (subject) => {
      const server = await subject.server();
      expect((await server.send({ action: "plainText", headers: { "x-open-runtimes-log-id": "My-log_id-1" } })).logId).toBe(
        "My-log_id-1",
      );
      const [first, second] = [await server.send({ action: "plainText" }), await server.send({ action: "plainText" })];
      expect(first.logId).toMatch(/^[A-Za-z0-9_-]{20}$/);
      expect(second.logId).toMatch(/^[A-Za-z0-9_-]{20}$/);
      expect(first.logId).not.toBe(second.logId);
    },
  },
  {
    name: "a log id that could name a path is ignored",
    needs: ["plainText"],
    check: async (subject) => {
      const server = await subject.server();
      for (const id of ["../x", "a/b", "a".repeat(65), "a b"]) {
        const reply = await server.send({ action: "plainText", headers: { "x-open-runtimes-log-id": id } });
        expect(reply.logId, id).toMatch(/^[A-Za-z0-9_-]{20}$/);
      }
    },
  },
  {
    name: "in development the log id is dev",
    needs: ["plainText"],
    check: async (subject) => {
      const server = await subject.server({ environment: { OPEN_RUNTIMES_SECRET: "", OPEN_RUNTIMES_ENV: "development" } });
      expect((await server.send({ action: "plainText" })).logId).toBe("dev");
    },
  },
  {
    name: "a missing entry file is 503, again and again, and health stays",
    needs: ["entrypoint"],
    check: async (subject) => {
      const server = await subject.server({ environment: { OPEN_RUNTIMES_ENTRYPOINT: "missing.file" } });
      for (let i = 0; i < 2; i++) {
        const reply = await server.send();
        expect(reply.status).toBe(503);
        expect(reply.text).toBe("");
        expect(await server.errorsOf(reply.logId)).not.toBe("");
      }
      expect((await server.send({ path: "/__opr/health" })).text).toBe("OK");
    },
  },
  {
    name: "an entry file that holds no function is 503",
    needs: ["entrypoint"],
    check: async (subject) => {
      const server = await subject.server({ environment: { OPEN_RUNTIMES_ENTRYPOINT: "data.txt" } });
      const reply = await server.send();
      expect(reply.status).toBe(503);
      expect(reply.text).toBe("");
      expect(await server.errorsOf(reply.logId)).not.toBe("");
    },
  },
  {
    name: "whether the function has loaded is told to who knows the secret",
    check: async (subject) => {
      const server = await subject.server();
      const loaded = await server.send({ path: "/__opr/load" });
      expect(loaded.status).toBe(200);
      expect(loaded.text).toBe("OK");
      expect(loaded.headers).not.toHaveProperty("x-open-runtimes-load");
      const refused = await server.send({ path: "/__opr/load", secret: false, headers: { "x-open-runtimes-secret": "wrong" } });
      expect(refused.status).toBe(500);
      expect(refused.text).toContain("Unauthorized");
    },
  },
  {
    name: "why the function has not loaded is told, and not logged by telling it",
    needs: ["entrypoint"],
    check: async (subject) => {
      for (const entrypoint of ["missing.file", "data.txt"]) {
        await using server = await subject.own({ environment: { OPEN_RUNTIMES_ENTRYPOINT: entrypoint } });
        for (let i = 0; i < 2; i++) {
          const told = await server.send({ path: "/__opr/load" });
          expect(told.status).toBe(503);
          expect(told.headers["x-open-runtimes-load"]).toBe("failed");
          expect(told.headers["content-type"]).toMatch(/^text\/plain/);
          expect(told.text).not.toBe("");
          expect(server.entries.filter(({ level }) => level === "error")).toEqual([]);
          const called = await server.send();
          expect(called.status).toBe(503);
          expect(called.headers).not.toHaveProperty("x-open-runtimes-load");
          // Of a stack what called the loader differs.
          expect(firstLine(await server.errorsOf(called.logId))).toBe(firstLine(told.text));
          server.entries.length = 0;
        }
        const refused = await server.send({ path: "/__opr/load", secret: false });
        expect(refused.status).toBe(500);
        expect(refused.text).toContain("Unauthorized");
      }
    },
  },
  {
    name: "a function that waits does not stop health",
    needs: ["sleep", "health-meanwhile"],
    check: async (subject) => {
      const server = await subject.server();
      const sleeping = server.send({ action: "sleep", headers: { "x-ms": "1200" } });
      await delay(200);
      const begun = Date.now();
      expect((await server.send({ path: "/__opr/health" })).text).toBe("OK");
      expect(Date.now() - begun).toBeLessThan(700);
      expect((await sleeping).text).toBe("slept");
    },
  },
  {
    name: "many requests are worked on at a time",
    needs: ["sleep", "concurrency"],
    check: async (subject) => {
      const server = await subject.server();
      const begun = Date.now();
      const replies = await Promise.all(
        Array.from({ length: 10 }, () => server.send({ action: "sleep", headers: { "x-ms": "500" } })),
      );
      expect(replies.map(({ text }) => text)).toEqual(Array.from({ length: 10 }, () => "slept"));
      expect(Date.now() - begun).toBeLessThan(2500);
    },
  },
  {
    name: "a connection serves many requests",
    needs: ["bodyText"],
    check: async (subject) => {
      const server = await subject.server();
      const agent = server.keepAliveAgent();
      try {
        const sockets = new Set<unknown>();
        for (const text of ["first", "second", "third"]) {
          const response = await server.open({ action: "bodyText", body: text, agent });
          sockets.add(response.socket);
          let answer = "";
          for await (const chunk of response) answer += chunk;
          expect(answer).toBe(text);
        }
        expect(sockets.size).toBe(1);
      } finally {
        agent.destroy();
      }
    },
  },
  {
    name: "garbage and a caller that goes away do no harm",
    needs: ["sleep", "plainText"],
    check: async (subject) => {
      const server = await subject.server();
      await server.raw("this is not HTTP\r\n\r\n", 300);
      await server.raw("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nshort", 300);
      const socket = await server.connect();
      socket.on("error", () => {});
      socket.write(
        `GET / HTTP/1.1\r\nHost: a\r\nx-action: sleep\r\nx-ms: 300\r\nx-open-runtimes-secret: a-secret-of-the-suite\r\n\r\n`,
      );
      await delay(100);
      socket.destroy();
      await delay(400);
      expect((await server.send({ action: "plainText" })).text).toBe("Hello World 👋");
    },
  },
  {
    name: "logs go to files of the log folder, named by the id and nowhere else",
    needs: ["log"],
    place: "process",
    check: async (subject) => {
      const outer = mkdtempSync(join(tmpdir(), "treadle-logs-"));
      try {
        const folder = mkdtempSync(join(outer, "logs-"));
        await using server = await subject.own({ environment: { TREADLE_LOGS: folder } });
        await server.send({ action: "log", headers: { "x-open-runtimes-log-id": "my-log" } });
        const bad = await server.send({ action: "log", headers: { "x-open-runtimes-log-id": "../x" } });
        const read = (name: string) => (existsSync(join(folder, name)) ? readFileSync(join(folder, name), "utf8") : "");
        await expect.poll(() => read("my-log_logs.log"), { timeout: 3000 }).toContain("Debug Log");
        await expect.poll(() => read("my-log_errors.log"), { timeout: 3000 }).toContain("Error Log");
        expect(read("my-log_logs.log")).not.toContain("Error Log");
        await expect.poll(() => read(`${bad.logId}_logs.log`), { timeout: 3000 }).toContain("Debug Log");
        expect(readdirSync(outer)).toHaveLength(1);
      } finally {
        rmSync(outer, { recursive: true, force: true });
      }
    },
  },
  {
    name: "it listens on a unix socket whose name an ended server has left",
    needs: ["plainText"],
    place: "process",
    check: async (subject) => {
      const folder = mkdtempSync(join(tmpdir(), "treadle-socket-"));
      try {
        const path = join(folder, "server.sock");
        await (await subject.own({}, path))[Symbol.asyncDispose]();
        if (!existsSync(path)) writeFileSync(path, "");
        await using server = await subject.own({}, path);
        expect((await server.send({ action: "plainText" })).text).toBe("Hello World 👋");
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  },
  {
    name: "SIGTERM ends it within five seconds",
    needs: ["plainText"],
    place: "process",
    check: async (subject) => {
      await using server = await subject.own();
      await server.send({ action: "plainText" });
      process.kill(server.pid, "SIGTERM");
      const ended = await Promise.race([server.exited.then(() => true), delay(5000, false)]);
      expect(ended).toBe(true);
      await expect.poll(() => familyOf(server.pid).length).toBe(0);
    },
  },
];
