import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { startPython } from "./python-server.ts";

const SLEEP = { code: "import time\ntime.sleep(seconds)\nreturn seconds", parameters: ["seconds"] };
const AWAIT = { code: "import asyncio\nawait asyncio.sleep(seconds)\nreturn seconds", parameters: ["seconds"] };

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

test("a blocking call holds back neither its neighbours nor results that are ready", async () => {
  await using client = startPython();
  await client.load({ functions: { sleep: SLEEP, quick: "return 1" } });
  const begun = performance.now();
  const before = client.result("quick");
  const slow = client.result("sleep", { seconds: 1 });
  const after = client.result("quick");
  expect(await before).toBe(1);
  expect(await after).toBe(1);
  await client.ping();
  expect(performance.now() - begun).toBeLessThan(500);
  expect(await slow).toBe(1);
});

test("a function that computes for long does not hold back its neighbours either", async () => {
  await using client = startPython();
  await client.load({ functions: { spin: "n = 0\nfor i in range(20_000_000):\n    n += i\nreturn n", quick: "return 1" } });
  let spun = false;
  const spin = client.result("spin").then(() => {
    spun = true;
  });
  await client.result("quick");
  await client.ping();
  expect(spun).toBe(false);
  await spin;
});

test("blocking calls run at the same time, and beyond the limit of threads the channel is still read", async () => {
  await using client = startPython();
  await client.load({ functions: { sleep: SLEEP } });
  const begun = performance.now();
  await Promise.all(Array.from({ length: 50 }, () => client.result("sleep", { seconds: 0.5 })));
  expect(performance.now() - begun).toBeLessThan(2500);
  const many = Array.from({ length: 100 }, () => client.result("sleep", { seconds: 0.5 }));
  await pause(100);
  const pinged = performance.now();
  await client.ping();
  expect(performance.now() - pinged).toBeLessThan(300);
  expect(await Promise.all(many)).toHaveLength(100);
  expect(client.violations).toEqual([]);
});

test("asyncio: hundreds wait at the same time, also through siblings, gather and libraries", async () => {
  await using client = startPython();
  const { errors } = await client.load({
    functions: {
      wait: AWAIT,
      relay: "return await wait(seconds=0.1)",
      dynamic: 'return await functions["wa" + "it"](seconds=0.1)',
      gather: "import asyncio\nreturn await asyncio.gather(wait(seconds=0.1), wait(seconds=0.2), asyncio.to_thread(lambda: 3))",
      timeout:
        "import asyncio\ntry:\n    await asyncio.wait_for(asyncio.sleep(9), 0.05)\nexcept asyncio.TimeoutError:\n    return 'late'",
      context: "import asyncio\nasync with asyncio.Lock():\n    pass\nreturn asyncio.current_task() is not None",
      own: "import asyncio\nasync def f():\n    await asyncio.sleep(0.01)\n    return 5\nreturn asyncio.run(f())",
      throws: "import asyncio\nawait asyncio.sleep(0)\nraise ValueError('x')",
      leave: "import asyncio, sys\nawait asyncio.sleep(0)\nsys.exit(1)",
    },
  });
  expect(errors).toEqual({});
  await client.result("wait", { seconds: 0 });
  const begun = performance.now();
  await Promise.all(Array.from({ length: 500 }, () => client.result("wait", { seconds: 0.3 })));
  expect(performance.now() - begun).toBeLessThan(2000);
  expect(await client.result("relay")).toBe(0.1);
  expect(await client.result("dynamic")).toBe(0.1);
  expect(await client.result("gather")).toEqual([0.1, 0.2, 3]);
  expect(await client.result("timeout")).toBe("late");
  expect(await client.result("context")).toBe(true);
  expect(await client.result("own")).toBe(5);
  expect((await client.call("throws")).error).toMatchObject({ code: "THREW", name: "ValueError", function: "throws", line: 3 });
  expect((await client.call("leave")).error).toMatchObject({ code: "THREW", name: "SystemExit" });
  expect(await client.result("wait", { seconds: 0 })).toBe(0);
  expect(client.violations).toEqual([]);
});

test("a blocked event loop does not hold back results that are ready", async () => {
  await using client = startPython();
  await client.load({
    functions: {
      wait: AWAIT,
      block: "import asyncio, time\nawait asyncio.sleep(0)\ntime.sleep(1.5)\nreturn await wait(seconds=0)",
    },
  });
  await client.result("wait", { seconds: 0 });
  const begun = performance.now();
  const quick = client.result("wait", { seconds: 0 });
  const block = client.result("block");
  await quick;
  expect(performance.now() - begun).toBeLessThan(700);
  await block;
});

test("CANCEL ends what can be ended and says what still holds a thread", async () => {
  await using client = startPython();
  await client.load({
    functions: {
      spin: "print('begun')\nwhile True:\n    pass",
      sleep: { ...SLEEP, code: `print('begun')\n${SLEEP.code}` },
      wait: AWAIT,
      block: "import asyncio, time\nawait asyncio.sleep(0)\ntime.sleep(0.6)",
      quick: "return 1",
    },
  });
  // The event loop is up before anything is timed.
  await client.result("wait", { seconds: 0 });
  const cancelled = async (name: string, parameters: unknown) => {
    const { id, answer } = client.start(name, Buffer.from(JSON.stringify(parameters)));
    await pause(60);
    client.cancel(id);
    return answer;
  };
  const spin = await cancelled("spin", {});
  expect(spin).toMatchObject({ cancelled: { running: false } });
  expect(spin.logs.map((entry) => entry.text)).toEqual(["begun"]);
  expect(await cancelled("sleep", { seconds: 1 })).toMatchObject({ cancelled: { running: true } });
  expect(await cancelled("wait", { seconds: 60 })).toMatchObject({ cancelled: { running: false } });
  expect(await cancelled("block", {})).toMatchObject({ cancelled: { running: true } });
  // Nothing late comes of them, and the threads serve again.
  await pause(1200);
  expect(await Promise.all(Array.from({ length: 100 }, () => client.result("quick")))).toHaveLength(100);
  expect(client.violations).toEqual([]);
});

test("calls sent before LOADED are answered after it; calls cancelled while they wait never run", async () => {
  await using client = startPython();
  const early = client.result("quick");
  const report = client.load({
    functions: { quick: "return 1", sleep: SLEEP, mark: 'cache["ran"] = True', ran: 'return "ran" in cache' },
  });
  expect((await report).errors).toEqual({});
  expect(await early).toBe(1);
  const sleeping = Array.from({ length: 64 }, () => client.result("sleep", { seconds: 1 }));
  await pause(300);
  const { id, answer } = client.start("mark", Buffer.from("{}"));
  client.cancel(id);
  expect((await answer).cancelled).toEqual({ running: false });
  await Promise.all(sleeping);
  expect(await client.result("ran")).toBe(false);
  expect(client.violations).toEqual([]);
});

test("a flood of late lines waits for the host instead of filling the memory", async () => {
  await using client = startPython();
  await client.load({
    functions: {
      flood: [
        "import threading",
        "def f():\n    for i in range(200_000):\n        print('x' * 100)\n    print('end')",
        "for _ in range(2):\n    threading.Thread(target=f).start()",
      ].join("\n"),
      quick: "return 1",
    },
    limits: { logBytes: 1 },
  });
  await client.call("flood");
  expect(await client.result("quick")).toBe(1);
  await expect.poll(() => client.ownerless.filter((entry) => entry.text === "end").length, { timeout: 20_000 }).toBe(2);
  expect(client.ownerless.length).toBeGreaterThan(200_000);
  const peak = Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${client.child.pid}/status`, "utf8"))?.[1]);
  expect(peak).toBeLessThan(60 * 1024);
  expect(client.violations).toEqual([]);
});

test("cancelling at any moment never harms another call", async () => {
  await using client = startPython();
  await client.load({
    functions: { spin: { code: "for _ in range(n):\n    pass\nreturn n", parameters: ["n"] }, quick: "return 1" },
  });
  for (let round = 0; round < 60; round++) {
    const { id, answer } = client.start("spin", Buffer.from(JSON.stringify({ n: 300_000 + round * 20_000 })));
    const neighbours = [client.result("quick"), client.result("quick")];
    await pause(round % 30);
    client.cancel(id);
    const ended = await answer;
    expect(ended.result ?? ended.cancelled).toBeDefined();
    expect(await Promise.all(neighbours)).toEqual([1, 1]);
  }
  expect(client.violations).toEqual([]);
});

test("an idle server uses no CPU and little memory", async () => {
  await using client = startPython();
  await client.load({ functions: { quick: "return 1" } });
  await Promise.all(Array.from({ length: 200 }, () => client.result("quick")));
  await pause(600);
  const ticks = () => {
    const fields = readFileSync(`/proc/${client.child.pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
    return Number(fields[11]) + Number(fields[12]);
  };
  const before = ticks();
  await pause(1500);
  expect(ticks() - before).toBeLessThanOrEqual(1);
  const resident = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${client.child.pid}/status`, "utf8"))?.[1]) * 1024;
  expect(resident).toBeLessThan(20 * 1024 * 1024);
});
