import { setTimeout as delay } from "node:timers/promises";
import { expect } from "vitest";
import type { Behaviour } from "../behaviour.ts";
import type { LogLine } from "../runtime-server.ts";

const CUT_NOTE = "... Log truncated due to size limit (8000 characters)";

function has(text: string) {
  return (entries: readonly LogLine[]) => entries.some((entry) => entry.text === text);
}

/** What user code logs, and what goes wrong in it. */
export const LOGS: readonly Behaviour[] = [
  {
    name: "log and error become lines of JSON with the id of the execution",
    needs: ["log"],
    check: async (subject) => {
      const server = await subject.server();
      const reply = await server.send({ action: "log", headers: { "x-open-runtimes-log-id": "log-lines" } });
      expect(reply.text).toBe("");
      const entries = await server.logsOf("log-lines", (all) => all.some(({ text }) => text.includes('"object"')));
      expect(entries).toContainEqual(expect.objectContaining({ level: "info", text: "Debug Log" }));
      expect(entries).toContainEqual(expect.objectContaining({ level: "error", text: "Error Log" }));
      expect(entries.map(({ text }) => text)).toContainEqual(expect.stringMatching(/^A 42(\.0)? (true|True|1)$/));
      const object = entries.find(({ text }) => text.includes('"object"'));
      expect(JSON.parse(object?.text ?? "null")).toEqual({ object: true });
    },
  },
  {
    name: "what is printed is a log line",
    needs: ["log", "print"],
    check: async (subject) => {
      const server = await subject.server();
      await server.send({ action: "log", headers: { "x-open-runtimes-log-id": "printed" } });
      // Where printed lines cannot be told apart, they may still have the id of an execution that is alone.
      const ids = subject.can("print-id") ? ["printed"] : ["printed", null];
      const entries = (await Promise.all(ids.map((id) => server.logsOf(id, has("Native Log"))))).flat();
      expect(entries.map(({ text }) => text)).toContain("Native Log");
    },
  },
  {
    name: "a long entry is cut with a note",
    needs: ["longLog"],
    check: async (subject) => {
      const server = await subject.server();
      await server.send({ action: "longLog", headers: { "x-open-runtimes-log-id": "long-log" } });
      const [entry] = await server.logsOf("long-log");
      expect(entry?.text.endsWith(CUT_NOTE)).toBe(true);
      const kept = entry?.text.slice(0, -CUT_NOTE.length) ?? "";
      expect(kept).toMatch(/^a+$/);
      expect(kept.length).toBeGreaterThan(7900);
      expect(kept.length).toBeLessThanOrEqual(8000);
    },
  },
  {
    name: "structured fields come with the line",
    needs: ["structuredLog"],
    check: async (subject) => {
      const server = await subject.server();
      await server.send({ action: "structuredLog", headers: { "x-open-runtimes-log-id": "structured" } });
      const entries = await server.logsOf("structured");
      expect(entries).toEqual([expect.objectContaining({ level: "warn", text: "structured", fields: { key: "value" } })]);
    },
  },
  {
    name: "disabled logging logs nothing",
    needs: ["log"],
    check: async (subject) => {
      const server = await subject.server();
      const headers = { "x-open-runtimes-log-id": "not-logged", "x-open-runtimes-logging": "disabled" };
      expect((await server.send({ action: "log", headers })).status).toBe(200);
      await delay(150);
      expect(server.entries.filter(({ id }) => id === "not-logged")).toEqual([]);
    },
  },
  {
    name: "a line is out as soon as it is logged",
    needs: ["concurrentLog"],
    check: async (subject) => {
      const server = await subject.server();
      let answered = false;
      const calls = Array.from({ length: 5 }, (_, index) =>
        server.send({ action: "concurrentLog", headers: { "x-open-runtimes-log-id": `live-${index}`, "x-id": `l${index}` } }),
      );
      const all = Promise.all(calls).then(() => {
        answered = true;
      });
      await server.logsOf("live-0", has("l0"));
      expect(answered).toBe(false);
      await all;
    },
  },
  {
    name: "of 20 executions at once each has its own lines",
    needs: ["concurrentLog"],
    check: async (subject) => {
      const server = await subject.server();
      const ids = Array.from({ length: 20 }, (_, index) => `many-${index}`);
      await Promise.all(
        ids.map((id) => server.send({ action: "concurrentLog", headers: { "x-open-runtimes-log-id": id, "x-id": id } })),
      );
      for (const id of ids) {
        const printed = subject.can("print-id");
        const entries = await server.logsOf(id, (all) => all.length >= (printed ? 4 : 3));
        const texts = entries.map(({ text }) => text);
        expect(texts.filter((text) => text === id)).toHaveLength(3);
        if (printed) expect(texts).toContain(`native ${id}`);
        expect(
          texts.every((text) => text === id || text === `native ${id}`),
          texts.join("|"),
        ).toBe(true);
      }
    },
  },
  {
    name: "a throw is 500 with an empty body, and what was logged before is kept",
    needs: ["exception"],
    check: async (subject) => {
      const server = await subject.server();
      const reply = await server.send({ action: "exception", headers: { "x-open-runtimes-log-id": "thrown" } });
      expect(reply.status).toBe(500);
      expect(reply.text).toBe("");
      expect(reply.logId).toBe("thrown");
      expect(await server.errorsOf("thrown")).toContain("Custom error message");
      expect(server.entries).toContainEqual(expect.objectContaining({ id: "thrown", level: "info", text: "before" }));
    },
  },
  {
    name: "returning nothing is 500 and says so",
    needs: ["noResponse"],
    check: async (subject) => {
      const server = await subject.server();
      const reply = await server.send({ action: "noResponse" });
      expect(reply.status).toBe(500);
      expect(reply.text).toBe("");
      expect(await server.errorsOf(reply.logId)).toContain(
        "Return statement missing. return context.res.empty() if no response is expected.",
      );
    },
  },
];
