import { readdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { layHostBait } from "../harness/host-bait.ts";
import { sharedServer } from "../harness/shared-server.ts";
import { ATTEMPTS, handlerFile, inlineBody } from "./attempts.ts";

const bait = await layHostBait();
afterAll(async () => {
  expect(bait.connections()).toBe(0);
  await bait[Symbol.asyncDispose]();
});
const server = sharedServer({
  flags: { "node-builtin-modules": "*" },
  environment: { TREADLE_TEST_SECRET: bait.secret, PGPASSWORD: bait.secret },
});
const disk = `/dev/${readdirSync("/dev").find((name) => /^(vd|sd|xvd|nvme\d+n)\w+$/.test(name)) ?? "sda"}`;

function facts() {
  const { secret, secretFile, port, socketFile, abstractSocket } = bait;
  return {
    ...{ secret, secretFile, port, socketFile, abstractSocket, disk },
    hostAddress: bait.hostAddresses[0] ?? "127.0.0.1",
    serverPid: server.pid,
    serverPort: server.port,
    dataDirectory: server.dataDirectory,
    repository: `${process.cwd()}/package.json`,
  };
}

describe.each(["node", "python"] as const)("from inline %s", (language) => {
  const attempts = ATTEMPTS.filter((attempt) => attempt[language] !== undefined);
  const parameters = { facts: { type: "object" } };
  beforeAll(() =>
    server.save(
      `reach-${language}`,
      Object.fromEntries(
        attempts.map((attempt, index) => [
          `a${index}`,
          {
            code: inlineBody(attempt, language),
            parameters,
            language: language === "node" ? ("nodejs" as const) : ("python" as const),
          },
        ]),
      ),
    ),
  );
  test.each(attempts.map((attempt, index) => [attempt.name, index] as const))("%s: refused", async (_name, index) => {
    const answer = await server.run(`reach-${language}`, `a${index}`, { facts: facts() });
    expect(answer.json.result, answer.text.slice(0, 500)).toEqual({ refused: expect.any(String) });
    expect(answer.logs).toEqual([]);
  });
});

describe.each(["node", "python"] as const)("from a %s handler", (language) => {
  const attempts = ATTEMPTS.filter((attempt) => attempt[language] !== undefined);
  const path = language === "node" ? "index.js" : "main.py";
  beforeAll(async () => {
    const saved = await server.send("PUT", `/api/v1/workspaces/reach-handler-${language}`, {
      functions: { web: { language, contract: "handler", files: [{ path, text: handlerFile(language) }] } },
    });
    if (saved.status !== 200) throw new Error(saved.text);
  });
  test.each(attempts.map((attempt) => [attempt.name] as const))("%s: refused", async (name) => {
    const answer = await server.send("POST", `/api/v1/workspaces/reach-handler-${language}/functions/web/executions`, {
      request: {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ name, facts: facts() }),
      },
    });
    const { response } = answer.json as unknown as { response?: { body: string } };
    expect(JSON.parse(response?.body ?? "null"), answer.text.slice(0, 500)).toEqual({ refused: expect.any(String) });
  });
});
