import { readFileSync } from "node:fs";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "vitest";
import { familyOf } from "../../harness/processes.ts";
import type { Behaviour } from "../behaviour.ts";
import { type RuntimeServer, replyOf } from "../runtime-server.ts";

const MEBIBYTE = 1024 * 1024;

/** Memory of a server and all it started, MiB. */
function residentMebibytes(server: RuntimeServer): number {
  return familyOf(server.pid).reduce((sum, { pid }) => {
    try {
      return sum + Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;
    } catch {
      return sum;
    }
  }, 0);
}

/** Bodies that go out, or come in, piece by piece. */
export const STREAMS: readonly Behaviour[] = [
  {
    name: "pieces of a stream arrive as they are made",
    needs: ["stream"],
    check: async (subject) => {
      const server = await subject.server();
      const begun = Date.now();
      const response = await server.open({ action: "stream" });
      expect(response.statusCode).toBe(201);
      expect(response.headers["x-streamed"]).toBe("yes");
      expect(response.headers["content-length"]).toBeUndefined();
      const arrived: { text: string; after: number }[] = [];
      for await (const chunk of response) arrived.push({ text: String(chunk), after: Date.now() - begun });
      expect(arrived.map(({ text }) => text).join("")).toBe("one\ntwo\nthree\n");
      expect(arrived.length).toBeGreaterThanOrEqual(3);
      expect((arrived.at(-1)?.after ?? 0) - (arrived[0]?.after ?? 0)).toBeGreaterThan(250);
    },
  },
  {
    name: "a stream keeps its connection in order",
    needs: ["stream", "plainText"],
    check: async (subject) => {
      const server = await subject.server();
      const agent = server.keepAliveAgent();
      try {
        expect((await server.send({ action: "stream", agent })).text).toBe("one\ntwo\nthree\n");
        expect((await server.send({ action: "plainText", agent })).text).toBe("Hello World 👋");
      } finally {
        agent.destroy();
      }
    },
  },
  {
    name: "a large stream arrives whole",
    needs: ["streamLarge"],
    check: async (subject) => {
      const size = 20 * MEBIBYTE + 17;
      const reply = await (await subject.server()).send({ action: "streamLarge", headers: { "x-size": String(size) } });
      expect(reply.body.length).toBe(size);
    },
  },
  {
    name: "a reader that waits holds the stream up",
    needs: ["streamLarge"],
    place: "process",
    check: async (subject) => {
      const server = await subject.server();
      await server.send({ action: "streamLarge", headers: { "x-size": String(8 * MEBIBYTE) } });
      const before = residentMebibytes(server);
      const response = await server.open({ action: "streamLarge", headers: { "x-size": String(128 * MEBIBYTE) } });
      await delay(1000);
      expect(residentMebibytes(server) - before).toBeLessThan(64);
      let size = 0;
      for await (const chunk of response) size += chunk.length;
      expect(size).toBe(128 * MEBIBYTE);
    },
  },
  {
    name: "an error of the source breaks the connection",
    needs: ["streamError", "plainText"],
    check: async (subject) => {
      const server = await subject.server();
      const response = await server.open({ action: "streamError" });
      let received = "";
      let broken = false;
      try {
        for await (const chunk of response) received += chunk;
      } catch {
        broken = true;
      }
      expect(received === "one\n" || received === "").toBe(true);
      expect(broken).toBe(true);
      expect((await server.send({ action: "plainText" })).text).toBe("Hello World 👋");
    },
  },
  {
    name: "a caller that leaves a stream does no harm",
    needs: ["streamLarge", "plainText"],
    check: async (subject) => {
      const server = await subject.server();
      const response = await server.open({ action: "streamLarge", headers: { "x-size": String(64 * MEBIBYTE) } });
      response.once("data", () => response.destroy());
      await delay(300);
      expect((await server.send({ action: "plainText" })).text).toBe("Hello World 👋");
    },
  },
  {
    name: "bodyStream gives what was sent",
    needs: ["echoStream"],
    check: async (subject) => {
      const server = await subject.server();
      const bytes = Buffer.alloc(3 * MEBIBYTE, "0123456789");
      const reply = await server.send({ action: "echoStream", body: bytes });
      expect(reply.status).toBe(200);
      expect(reply.body.equals(bytes)).toBe(true);
      expect((await server.send({ action: "echoStream", method: "POST", body: "" })).text).toBe("");
    },
  },
  {
    name: "bodyStream gives what came before the rest has come",
    needs: ["echoStream", "duplex"],
    check: async (subject) => {
      const server = await subject.server();
      const body = new Readable({ read() {} });
      body.push("first ");
      const response = await server.open({ action: "echoStream", body });
      const first = await new Promise((resolve) => response.once("data", (chunk) => resolve(String(chunk))));
      expect(first).toBe("first ");
      body.push("second");
      body.push(null);
      expect((await replyOf(response)).text).toBe("second");
    },
  },
];
