import { once } from "node:events";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type CliServer, startCliServer } from "./cli-server.ts";

const KEY = "0123456789abcdef0123456789abcdef";
let server: CliServer;
beforeAll(async () => {
  server = await startCliServer({ TREADLE_ADMIN_KEY: KEY });
  const functions = {
    say: {
      code: 'console.log(text); if (text === "fail") throw new Error("failed as asked"); return 1;',
      parameters: { text: {} },
    },
    other: { code: "return 2;" },
  };
  const response = await fetch(`${server.url}/v2/functions/w`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${KEY}` },
    body: JSON.stringify({ functions }),
  });
  expect(response.status).toBe(200);
  for (const text of ["one", "fail", "\u001b[31mred\n2026-01-01T00:00:00.000Z  w/say  succeeded"]) {
    await server.treadle("run", "w", "say", "--params", JSON.stringify({ text }));
  }
  await server.treadle("run", "w", "other");
}, 60_000);
afterAll(() => server?.[Symbol.asyncDispose]());

test("lists executions with their lines, newest last, and lets no line pass for another", async () => {
  const { status, stdout } = await server.treadle("logs");
  expect(status).toBe(0);
  const heads = stdout.split("\n").filter((line) => /^\d{4}-/.test(line));
  expect(heads.map((line) => line.split("  ").slice(1, 3))).toEqual([
    ["w/say", "succeeded"],
    ["w/say", "failed"],
    ["w/say", "succeeded"],
    ["w/other", "succeeded"],
  ]);
  expect(stdout).toContain("  info   fail\n  THREW: Error: failed as asked (say, line 1, column ");
  expect(stdout).toContain("  info   \\x1b[31mred\n         2026-01-01T00:00:00.000Z");
  expect(stdout).not.toContain("\u001b");
});

test("filters by workspace, function, state, text, time and count", async () => {
  const names = async (...args: string[]) => {
    const { stdout } = await server.treadle("logs", ...args, "--json");
    const executions = stdout.split("\n").filter((line) => line !== "");
    return executions.map((line) => (JSON.parse(line) as { function: string; state: string }).function);
  };
  expect(await names("w", "other")).toEqual(["other"]);
  expect(await names("w", "--state", "failed")).toEqual(["say"]);
  expect(await names("--text", "as asked")).toEqual(["say"]);
  expect(await names("-n", "2")).toEqual(["say", "other"]);
  expect(await names("nobody")).toEqual([]);
  expect(await names("--since", "1h")).toHaveLength(4);
  expect(await names("--since", "2999-01-01")).toEqual([]);
  for (const wrong of [
    ["--since", "soon"],
    ["-n", "x"],
    ["--state", "odd"],
  ]) {
    const result = await server.treadle("logs", ...wrong);
    expect(result).toMatchObject({ status: 1, stdout: "" });
    expect(result.stderr).toMatch(/^treadle: BAD_REQUEST: /);
  }
});

test("-f goes on with new executions, each once", async () => {
  const child = server.start("logs", "w", "-n", "1", "-f", "--json");
  const lines: string[] = [];
  let wake = () => {};
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on("line", (line) => {
    lines.push((JSON.parse(line) as { input: string }).input);
    wake();
  });
  const until = async (count: number) => {
    while (lines.length < count) await new Promise<void>((resolve) => (wake = resolve));
  };
  try {
    await until(1);
    await server.treadle("run", "w", "say", "-p", "text=new 1");
    await server.treadle("run", "w", "say", "-p", "text=new 2");
    await until(3);
    // Two more polls would print them again if it forgot what it printed.
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect(lines).toEqual(["{}", '{"text":"new 1"}', '{"text":"new 2"}']);
  } finally {
    child.kill("SIGINT");
    await once(child, "exit");
  }
});

test("the admin key comes from the environment or --key", async () => {
  const none = await server.treadleWith({ env: { TREADLE_ADMIN_KEY: "" } }, "logs");
  expect(none).toMatchObject({ status: 1, stdout: "" });
  expect(none.stderr).toContain("treadle: UNAUTHORIZED: The request carries no key.");
  const wrong = await server.treadle("logs", "--key", "wrong");
  expect(wrong.stderr).toContain("The key is wrong.");
  const right = await server.treadleWith({ env: { TREADLE_ADMIN_KEY: "" } }, "logs", "--key", KEY);
  expect(right.status).toBe(0);
});

test("-f of a workspace prints lines while the execution still runs", async () => {
  const code = 'console.log("first of two"); await new Promise((done) => setTimeout(done, 3_000)); return 1;';
  const response = await fetch(`${server.url}/api/v1/workspaces/w/functions/slow`, {
    method: "PUT",
    headers: { "content-type": "application/json", authorization: `Bearer ${KEY}` },
    body: JSON.stringify({ code }),
  });
  expect(response.status).toBe(200);
  const child = server.start("logs", "w", "slow", "-f");
  try {
    let printed = "";
    child.stdout?.on("data", (chunk) => {
      printed += chunk;
    });
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    let over = false;
    const call = server.treadle("run", "w", "slow").then(() => {
      over = true;
    });
    await expect.poll(() => printed, { timeout: 10_000 }).toContain("w/slow  info   first of two\n");
    expect(over).toBe(false);
    await call;
  } finally {
    child.kill("SIGINT");
    await once(child, "exit");
  }
});
