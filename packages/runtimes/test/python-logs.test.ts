import { expect, test } from "vitest";
import { LEVEL } from "./channel-client.ts";
import { startPython } from "./python-server.ts";

test("1,000 concurrent calls with 20 lines each: every line in its own execution, in order, none lost", async () => {
  await using client = startPython();
  await client.load({
    functions: {
      plain: { code: "for i in range(20):\n    print(n, i)\nreturn n", parameters: ["n"] },
      waits: {
        code: "import asyncio\nfor i in range(20):\n    print(n, i)\n    await asyncio.sleep(0)\nreturn n",
        parameters: ["n"],
      },
      thread: {
        code: "import threading, time\ndef f():\n    for i in range(20):\n        print(n, i)\n        if i % 7 == 0:\n            time.sleep(0.001)\nt = threading.Thread(target=f)\nt.start()\nt.join()\nreturn n",
        parameters: ["n"],
      },
    },
  });
  const kinds = ["plain", "waits", "plain", "thread"];
  const answers = await Promise.all(
    Array.from({ length: 1000 }, (_, n) => client.call(kinds[n % (n % 10 === 3 ? 4 : 3)] as string, { n })),
  );
  for (const [n, answer] of answers.entries()) {
    expect(answer.result?.toString()).toBe(String(n));
    expect(answer.logs.map((entry) => entry.text)).toEqual(Array.from({ length: 20 }, (_, i) => `${n} ${i}`));
  }
  expect(client.violations).toEqual([]);
  expect(client.ownerless).toEqual([]);
});

test("every way of writing is tied to the execution, with its level, line by line", async () => {
  await using client = startPython();
  await client.load({
    functions: {
      write: [
        "import sys, os, logging, warnings",
        "print('two\\nlines', end='')",
        "print()",
        "sys.stdout.write('part '); sys.stdout.write('whole\\n')",
        "sys.stdout.buffer.write('é'.encode()[:1]); sys.stdout.buffer.write('é'.encode()[1:] + b'\\xff\\n')",
        "os.write(1, b'os out\\n'); os.write(2, b'os err\\n')",
        "print('error', file=sys.stderr)",
        "logging.warning('logged')",
        "warnings.warn('warned')",
        "print('\\ud800')",
        "print('last', end='')",
      ].join("\n"),
      poolAsync: {
        code: "import asyncio\nawait asyncio.to_thread(print, n)\nawait asyncio.get_running_loop().run_in_executor(None, print, n)",
        parameters: ["n"],
      },
    },
  });
  const { logs } = await client.call("write");
  const lines = logs.map((entry) => [entry.level, entry.text]);
  expect(lines).toEqual([
    [LEVEL.info, "two"],
    [LEVEL.info, "lines"],
    [LEVEL.info, "part whole"],
    [LEVEL.info, "é\ufffd"],
    [LEVEL.info, "os out"],
    [LEVEL.error, "os err"],
    [LEVEL.error, "error"],
    [LEVEL.error, expect.stringContaining("logged")],
    [LEVEL.error, expect.stringMatching(/write\.py:9: UserWarning: warned/)],
    ...lines.slice(9, -2),
    [LEVEL.info, expect.stringMatching(/^\ufffd+$/)],
    [LEVEL.info, "last"],
  ]);
  expect(Math.abs((logs[0]?.time ?? 0) - Date.now())).toBeLessThan(10_000);
  for (const n of [1, 2])
    expect((await client.call("poolAsync", { n })).logs.map((entry) => entry.text)).toEqual([`${n}`, `${n}`]);
});

test("a shared thread pool logs into the execution that gave the work", async () => {
  await using client = startPython();
  await client.load({
    functions: {
      pool: {
        code: "import concurrent.futures as f\nif 'pool' not in cache:\n    cache['pool'] = f.ThreadPoolExecutor(1)\ncache['pool'].submit(print, n).result()",
        parameters: ["n"],
      },
    },
  });
  for (const n of [1, 2, 3]) expect((await client.call("pool", { n })).logs.map((entry) => entry.text)).toEqual([`${n}`]);
});

test("long entries are cut, and the whole is bounded with one last note", async () => {
  await using client = startPython();
  await client.load({
    functions: {
      long: "print('x' * 500)\nprint('y', end='')\nfor _ in range(1000):\n    print('z' * 1000, end='')",
      flood: "for i in range(1000):\n    print(i)\nreturn 'ok'",
    },
    limits: { logEntryCharacters: 100, logBytes: 2000 },
  });
  const long = await client.call("long");
  expect(long.logs.map((entry) => [entry.flags, entry.text])).toEqual([
    [1, "x".repeat(100)],
    [1, `y${"z".repeat(99)}`],
  ]);
  const flood = await client.call("flood");
  expect(flood.result?.toString()).toBe('"ok"');
  const last = flood.logs.at(-1);
  expect(last).toMatchObject({ level: LEVEL.warn, flags: 1, text: "[log truncated]" });
  expect(flood.logs.slice(0, -1).every((entry) => entry.flags === 0)).toBe(true);
  const bytes = flood.logs.reduce((sum, entry) => sum + Buffer.byteLength(entry.text), 0);
  expect(bytes).toBeLessThan(2100);
});

test("what is written after the answer belongs to nobody; late exceptions are logged and harmless", async () => {
  await using client = startPython();
  await client.load({
    functions: {
      late: [
        "import threading, time",
        "def f():\n    time.sleep(0.1)\n    print('too late')\n    raise ValueError('late one')",
        "threading.Thread(target=f).start()",
        "return 1",
      ].join("\n"),
      running: [
        "import threading, time",
        "def f():\n    raise ValueError('in time')",
        "t = threading.Thread(target=f); t.start(); t.join()",
      ].join("\n"),
      task: [
        "import asyncio, gc",
        "async def f():\n    await asyncio.sleep(0)\n    raise KeyError('from a task')",
        "t = asyncio.create_task(f())\nawait asyncio.sleep(0.05)\ndel t\ngc.collect()\nawait asyncio.sleep(0.05)",
      ].join("\n"),
      quick: "return 1",
    },
  });
  expect((await client.call("late")).logs).toEqual([]);
  await new Promise((resolve) => setTimeout(resolve, 300));
  const texts = client.ownerless.map((entry) => entry.text).join("\n");
  expect(texts).toContain("too late");
  expect(texts).toContain("ValueError: late one");
  const running = await client.call("running");
  expect(running.logs.map((entry) => entry.text).join("\n")).toContain("ValueError: in time");
  const task = await client.call("task");
  expect(task.logs.map((entry) => entry.text).join("\n")).toContain("KeyError: 'from a task'");
  expect(await client.result("quick")).toBe(1);
  expect(client.violations).toEqual([]);
});

test("what is printed right before the process ends is not lost", async () => {
  await using client = startPython();
  await client.load({ functions: { exits: `print("one")\nimport os\nprint("two")\nos._exit(3)` } });
  await expect(client.call("exits")).rejects.toThrow();
  expect(client.entries.map((entry) => entry.text)).toEqual(["one", "two"]);
});
