import { expect } from "vitest";
import type { Behaviour, Subject } from "../behaviour.ts";

async function handle(subject: Subject, action: string, more: Record<string, unknown> = {}) {
  const server = await subject.server({ function: "script", environment: { TREADLE_CONTRACT: "script" } });
  const data = { payload: "text", variables: { action }, meta: { a: 1 }, flow: { variables: {} }, ...more };
  const reply = await server.send({
    method: "POST",
    body: JSON.stringify(data),
    headers: { "content-type": "application/json" },
  });
  return { server, data, reply, answer: JSON.parse(reply.text) as Record<string, unknown> };
}

/** The `script` contract: `handle(data)`. */
export const SCRIPT: readonly Behaviour[] = [
  {
    name: "handle gives back what it got",
    only: "script",
    check: async (subject) => {
      const { reply, answer, data } = await handle(subject, "echo", {
        payload: null,
        response: { headers: { a: "b" }, body: "c", status: 200 },
      });
      expect(reply.status).toBe(200);
      expect(reply.headers["content-type"]).toMatch(/^application\/json/);
      expect(answer).toMatchObject({ payload: null, variables: data.variables, meta: { a: 1 }, flow: { variables: {} } });
    },
  },
  {
    name: "handle changes payload, meta and flow, and its logs are log lines",
    only: "script",
    check: async (subject) => {
      const { server, reply, answer } = await handle(subject, "change", { flow: { variables: { count: 1 } } });
      expect(answer).toMatchObject({
        payload: "text!",
        meta: { a: 1, seen: true },
        flow: { variables: { count: 2 } },
        logs: ["changed"],
      });
      expect((await server.logsOf(reply.logId)).map(({ text }) => text)).toContain("changed");
      expect((await handle(subject, "change")).answer).toMatchObject({ flow: { variables: { count: 1 } } });
    },
  },
  {
    name: "handle returns a response code",
    only: "script",
    check: async (subject) => {
      const { answer } = await handle(subject, "code");
      expect(answer).toMatchObject({ response_code: 2, payload: "text", meta: { a: 1 } });
    },
  },
  {
    name: "handle that throws is 500 with the error as JSON",
    only: "script",
    check: async (subject) => {
      const { reply, answer } = await handle(subject, "throw");
      expect(reply.status).toBe(500);
      const { error } = answer as { error: { name: string; message: string; stack: string } };
      expect(error.message).toBe("Script failed");
      expect(error.name).toEqual(expect.any(String));
      expect(error.stack).toEqual(expect.any(String));
    },
  },
  {
    name: "what handle prints is a log line",
    only: "script",
    needs: ["print"],
    check: async (subject) => {
      const { server, reply } = await handle(subject, "log");
      const id = subject.can("print-id") ? reply.logId : null;
      const entries = await server.logsOf(id, (all) => all.some(({ text }) => text === "printed"));
      expect(entries.map(({ text }) => text)).toContain("printed");
    },
  },
  {
    name: "handle that returns nothing leaves all as it was",
    only: "script",
    check: async (subject) => {
      const { reply, answer, data } = await handle(subject, "nothing");
      expect(reply.status).toBe(200);
      expect(answer).toMatchObject({ payload: "text", variables: data.variables, meta: { a: 1 }, flow: { variables: {} } });
    },
  },
  {
    name: "a body that is no JSON is refused",
    only: "script",
    check: async (subject) => {
      const server = await subject.server({ function: "script", environment: { TREADLE_CONTRACT: "script" } });
      const reply = await server.send({ method: "POST", body: "{" });
      expect(reply.status).toBe(500);
      expect(JSON.parse(reply.text)).toMatchObject({ error: { message: expect.stringMatching(/json/i) } });
    },
  },
];
