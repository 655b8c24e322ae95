import { readFileSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { connect } from "node:net";
import { describe, expect, test } from "vitest";
import { sharedServer } from "../harness/shared-server.ts";

interface Event {
  readonly event: string;
  readonly id: string | undefined;
  readonly data: Record<string, unknown>;
}

/** Reads server-sent events as they come. */
class Events {
  readonly received: Event[] = [];
  readonly ended: Promise<void>;
  readonly #request: ReturnType<typeof request>;

  constructor(port: number, path: string, lastEventId?: string) {
    const headers = lastEventId === undefined ? {} : { "last-event-id": lastEventId };
    this.#request = request({ host: "127.0.0.1", port, path, headers, agent: false });
    this.ended = new Promise((resolve, reject) => {
      this.#request.on("error", reject);
      this.#request.on("response", (response: IncomingMessage) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => {
          text += chunk;
          for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
            this.#take(text.slice(0, end));
            text = text.slice(end + 2);
          }
        });
        response.on("close", resolve);
        response.on("error", () => resolve());
      });
    });
    this.ended.catch(() => {});
    this.#request.end();
  }

  get messages(): unknown[] {
    return this.received.filter(({ event }) => event === "entry").map(({ data }) => data.message);
  }

  close(): void {
    this.#request.destroy();
  }

  #take(block: string): void {
    const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1];
    const event = field("event");
    if (event !== undefined) this.received.push({ event, id: field("id"), data: JSON.parse(field("data") ?? "null") });
  }
}

/** Asks for events and reads none until `rest`. */
class LazyReader {
  readonly begun: Promise<void>;
  readonly #socket: ReturnType<typeof connect>;

  constructor(port: number, path: string) {
    this.#socket = connect({ host: "127.0.0.1", port });
    this.#socket.on("error", () => {});
    this.#socket.write(`GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`);
    this.begun = new Promise((resolve) =>
      this.#socket.once("data", () => {
        this.#socket.pause();
        resolve();
      }),
    );
  }

  /** All that there still is, until the server ends it. */
  async rest(): Promise<string> {
    let text = "";
    this.#socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
    });
    const over = new Promise((resolve) => this.#socket.once("close", resolve));
    // The connection is kept for another request.
    const timer = setInterval(() => text.endsWith("\r\n0\r\n\r\n") && this.#socket.destroy(), 20);
    this.#socket.resume();
    await over;
    clearInterval(timer);
    return text;
  }
}

function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
}

const SAY = `for (let n = 1; n <= lines; n++) { console[n === lines ? "error" : "log"]("line " + n); await new Promise((done) => setTimeout(done, 100)); } return lines;`;

describe("live logs", () => {
  const server = sharedServer({
    prepare: async () => {
      const parameters = { lines: { type: "integer" } };
      await server.save("w", { say: { code: SAY, parameters }, other: { code: SAY, parameters } });
      await server.save("v", { say: { code: SAY, parameters } });
    },
  });
  const submit = async (body: object): Promise<string> => {
    const answer = await server.send("POST", "/api/v1/workspaces/w/functions/say/executions?mode=async", body);
    return (answer.json.execution as { id: string }).id;
  };

  test("an execution's lines come while it runs, then its end; Last-Event-ID takes up after a line", async () => {
    const id = await submit({ parameters: { lines: 6 } });
    const events = new Events(server.port, `/api/v1/executions/${id}/log`);
    await expect.poll(() => events.messages.length, { timeout: 5_000 }).toBeGreaterThanOrEqual(2);
    expect(events.received.some(({ event }) => event === "end")).toBe(false);
    await events.ended;
    expect(events.messages).toEqual([1, 2, 3, 4, 5, 6].map((n) => `line ${n}`));
    expect(events.received.at(-1)).toMatchObject({ event: "end", data: { state: "succeeded", error: null } });
    const again = new Events(server.port, `/api/v1/executions/${id}/log`, events.received[3]?.id);
    await again.ended;
    expect(again.messages).toEqual(["line 5", "line 6"]);
  });

  test("one that waits is followed from its start", async () => {
    const id = await submit({ parameters: { lines: 2 }, delaySeconds: 1 });
    const events = new Events(server.port, `/api/v1/executions/${id}/log`);
    await events.ended;
    expect(events.messages).toEqual(["line 1", "line 2"]);
  });

  test("a workspace's lines come of all its functions or of one, by level and text, and of no other workspace", async () => {
    const all = new Events(server.port, "/api/v1/workspaces/w/log");
    const errors = new Events(server.port, "/api/v1/workspaces/w/log?level=error&function=say");
    const text = new Events(server.port, "/api/v1/workspaces/w/log?text=LINE%201");
    await new Promise((done) => setTimeout(done, 300));
    await Promise.all([
      server.run("w", "say", { lines: 2 }),
      server.run("w", "other", { lines: 2 }),
      server.run("v", "say", { lines: 3 }),
    ]);
    await expect.poll(() => all.received.filter(({ event }) => event === "end").length).toBe(2);
    expect(all.messages.toSorted()).toEqual(["line 1", "line 1", "line 2", "line 2"]);
    expect(errors.messages).toEqual(["line 2"]);
    expect(text.messages).toEqual(["line 1", "line 1"]);
    const first = all.received.find(({ event }) => event === "entry");
    const resumed = new Events(server.port, "/api/v1/workspaces/w/log", first?.id);
    await expect.poll(() => resumed.messages.length, { timeout: 5_000 }).toBeGreaterThanOrEqual(1);
    expect(resumed.received.map(({ id }) => id)).not.toContain(first?.id);
    for (const each of [all, errors, text, resumed]) each.close();
  });

  test("executions are found by the level of their entries", async () => {
    const found = async (level: string) =>
      ((await server.send("GET", `/api/v1/executions?workspace=v&level=${level}`)).json.executions as unknown[]).length;
    expect([await found("error"), await found("debug")]).toEqual([1, 0]);
  });

  test("a reader that does not keep up is cut with a note, and what it did not read is not kept in memory", async () => {
    const code = 'for (let n = 0; n < 100; n++) console.log("x".repeat(8_000)); return 1;';
    await server.save("loud", { shout: { code } });
    const shout = (times: number) => Promise.all(Array.from({ length: times }, () => server.result("loud", "shout")));
    // What calls with such logs take by themselves is not to be counted.
    for (let n = 0; n < 4; n++) await shout(10);
    const before = residentBytes(server.pid);
    const readers = Array.from({ length: 30 }, () => new LazyReader(server.port, "/api/v1/workspaces/loud/log"));
    await Promise.all(readers.map(({ begun }) => begun));
    // 24 MB for each of 30 readers, more than the sockets between take: 720 MB, if it were kept.
    for (let n = 0; n < 3; n++) await shout(10);
    expect(residentBytes(server.pid) - before).toBeLessThan(300_000_000);
    for (const text of await Promise.all(readers.map((reader) => reader.rest()))) {
      expect(text.length).toBeLessThan(20_000_000);
      expect(text.slice(-300)).toMatch(/\nevent: cut\ndata: \{"message":"You read slower[^\n]*\}\n\n\r\n0\r\n\r\n$/);
    }
    // Whoever reads gets all of it.
    const keen = new Events(server.port, "/api/v1/workspaces/loud/log?function=shout");
    await new Promise((done) => setTimeout(done, 300));
    for (let n = 0; n < 5; n++) await shout(1);
    await expect.poll(() => keen.received.filter(({ event }) => event === "end").length, { timeout: 10_000 }).toBe(5);
    expect(keen.messages).toHaveLength(500);
    keen.close();
  });

  test("what is not there is an error, not a stream", async () => {
    expect((await server.send("GET", "/api/v1/executions/00000000-0000-7000-8000-000000000000/log")).code).toBe(
      "UNKNOWN_EXECUTION",
    );
    expect((await server.send("GET", "/api/v1/workspaces/nobody/log")).code).toBe("UNKNOWN_WORKSPACE");
  });
});

describe("fields of log entries", () => {
  const fieldsServer = sharedServer();

  test.each([
    [
      "node",
      "index.js",
      'export default ({ res, logger }) => { logger.warn("structured", { key: "value" }); return res.text(""); };',
    ],
    [
      "python",
      "main.py",
      'def main(context):\n    context.logger.warn("structured", {"key": "value"})\n    return context.res.text("")\n',
    ],
  ])("are kept apart from their text: %s", async (language, path, text) => {
    const at = `/api/v1/workspaces/fields/functions/${language}`;
    const saved = await fieldsServer.send("PUT", at, { language, files: [{ path, text }] });
    expect(saved.status, saved.text).toBe(200);
    const answer = await fieldsServer.send("POST", `${at}/executions`, { request: {} });
    const { execution } = answer.json as unknown as { execution: { logs: object[] } };
    expect(execution.logs).toMatchObject([{ level: "warn", message: "structured", fields: { key: "value" } }]);
  });
});
