import { afterAll, beforeAll, expect, test } from "vitest";
import { openDriver, type TestDriver } from "./drivers.ts";
import { processesWith } from "./host-processes.ts";
import { LIMITS, MEBIBYTE, node, outcome, PYTHON, python, start } from "./programs.ts";

let opened: TestDriver;
beforeAll(async () => {
  opened = await openDriver();
});
afterAll(() => opened[Symbol.asyncDispose]());

test("a fork bomb ends at the limit of processes", async () => {
  const code = `import os, time
n = 0
try:
  while True:
    if os.fork() == 0: time.sleep(60)
    n += 1
except OSError as error: print(error.errno, n, flush=True)
time.sleep(60)`;
  const started = Date.now();
  const sandbox = await start(opened.driver, [PYTHON, "-c", code], { limits: { processes: 50 } });
  const line = await new Promise<string>((resolve) => sandbox.stdout.once("data", (data) => resolve(String(data))));
  expect(line).toBe("11 49\n");
  expect((await sandbox.kill()).cause).toBe("killed");
  expect(Date.now() - started).toBeLessThan(8000);
});

test("10,000 threads are not to be had, from Python and from Node", async () => {
  const code = `import threading, time, os
n = 0
try:
  for _ in range(10000):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    n += 1
except RuntimeError: pass
print(n, flush=True)
os._exit(0)`;
  const { stdout } = await python(opened.driver, code);
  expect(Number(stdout)).toBeGreaterThan(10);
  expect(Number(stdout)).toBeLessThanOrEqual(LIMITS.processes);

  const workers = `import { Worker } from "node:worker_threads";
let online = 0;
for (let i = 0; i < 10000; i++) {
  const worker = new Worker("setInterval(() => {}, 1000)", { eval: true });
  const up = await new Promise((resolve) => worker.on("online", () => resolve(true)).on("error", () => resolve(false)));
  if (!up) break;
  online++;
}
console.log(online);
process.exit(0);`;
  const result = await node(opened.driver, workers, { limits: { processes: 24, memoryBytes: 1024 * MEBIBYTE } });
  // Node may also give up (abort) when it cannot make a helper thread: what counts is that it stayed below the limit.
  if (result.code === 0) expect(Number(result.stdout)).toBeLessThan(24);
  else expect(result.cause).toBe("exited");
});

const MEMORY_BOMBS = {
  "Python heap": [PYTHON, "-c", "a = []\nwhile True: a.append(bytearray(1 << 20))"],
  "Python mmap": [
    PYTHON,
    "-c",
    "import mmap\na = []\nwhile True:\n  m = mmap.mmap(-1, 1 << 20); m.write(b'x' * (1 << 20)); a.append(m)",
  ],
  "Python child process": [
    PYTHON,
    "-c",
    "import os, sys\nif os.fork() == 0:\n  a = []\n  while True: a.append(bytearray(1 << 20))\nsys.exit(os.waitstatus_to_exitcode(os.wait()[1]) and 1)",
  ],
  "tmpfs in /tmp": [PYTHON, "-c", "f = open('/tmp/fill', 'wb')\nwhile True: f.write(b'x' * (1 << 20))"],
  "tmpfs in /dev/shm": [PYTHON, "-c", "f = open('/dev/shm/fill', 'wb')\nwhile True: f.write(b'x' * (1 << 20))"],
  memfd: [PYTHON, "-c", "import os\nf = os.memfd_create('x')\nwhile True: os.write(f, b'x' * (1 << 20))"],
  inodes: [PYTHON, "-c", "import os\ni = 0\nwhile True:\n  os.close(os.open(f'/tmp/{i}', os.O_CREAT)); i += 1"],
  "Node buffers": ["/usr/bin/node", "-e", "const a = []; for (;;) a.push(Buffer.alloc(1 << 20, 1))"],
};

test.each(Object.entries(MEMORY_BOMBS))("a memory bomb ends as out of memory: %s", async (_name, command) => {
  const limits = { memoryBytes: 48 * MEBIBYTE, scratchBytes: 1024 * MEBIBYTE };
  await using sandbox = await start(opened.driver, command, { limits });
  const result = await outcome(sandbox);
  expect(result).toMatchObject({ cause: "out_of_memory" });
});

test("V8's own limit is told apart from the sandbox's: an abort inside is an exit by signal", async () => {
  const code = "const a = []; for (;;) a.push(new Array(10000).fill(1.5))";
  await using sandbox = await start(opened.driver, ["/usr/bin/node", "--max-old-space-size=32", "-e", code]);
  expect(await outcome(sandbox)).toMatchObject({ cause: "exited", code: null, signal: "SIGABRT" });
});

test("scratch is full at its size", async () => {
  const code = `n = 0
try:
  f = open("/tmp/fill", "wb", buffering=0)
  while True: n += f.write(b"x" * 65536)
except OSError as error: print(error.errno, n)`;
  expect((await python(opened.driver, code)).stdout).toBe(`28 ${LIMITS.scratchBytes}\n`);
});

test("a million open files are not to be had, and the limit cannot be raised", async () => {
  const code = `import os, resource
try: resource.setrlimit(resource.RLIMIT_NOFILE, (1000000, 1000000)); print("raised")
except (ValueError, OSError): pass
n = 0
try:
  while True: os.open("/tmp", os.O_RDONLY); n += 1
except OSError as error: print(error.errno, n)`;
  expect((await python(opened.driver, code)).stdout).toBe(`24 ${LIMITS.openFiles - 4}\n`);
});

test("a daemon does not outlive the program, nor one that ignores SIGTERM the kill", async () => {
  const marker = `daemon-${process.pid}-${Math.random()}`;
  const code = `import os, signal, time
for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(s, signal.SIG_IGN)
"${marker}"
if os.fork() == 0:
  os.setsid()
  for i in range(0, 3): os.close(i)
  if os.fork() == 0: time.sleep(600)
  os._exit(0)
os.wait()
print("up", flush=True)
WAIT`;
  const { cause } = await python(opened.driver, code.replace("WAIT", ""));
  expect(cause).toBe("exited");
  expect(processesWith(marker)).toEqual([]);

  const sandbox = await start(opened.driver, [PYTHON, "-c", code.replace("WAIT", "while True: pass")]);
  await new Promise((resolve) => sandbox.stdout.once("data", resolve));
  const started = performance.now();
  expect(await sandbox.kill()).toEqual({ code: null, signal: "SIGKILL", cause: "killed" });
  expect(performance.now() - started).toBeLessThan(2000);
  expect(processesWith(marker)).toEqual([]);
});

test("a spinning program gets no more CPU than its share, which can be changed while it runs", async (ctx) => {
  const groups = (await opened.driver.examine()).find(({ name }) => name === "control groups");
  if (groups?.status !== "ok") ctx.skip(`needs CPU control: ${groups?.message}`);
  const code = `import time
for _ in range(2):
  start, used = time.monotonic(), time.process_time()
  while time.monotonic() - start < 0.6: pass
  print((time.process_time() - used) / (time.monotonic() - start), flush=True)`;
  await using sandbox = await start(opened.driver, [PYTHON, "-c", code], { limits: { cpus: 0.2 } });
  sandbox.stdout.once("data", () => sandbox.setLimits({ ...LIMITS, cpus: 0.05 }));
  const [first, second] = (await outcome(sandbox)).stdout.trim().split("\n").map(Number) as [number, number];
  expect(first).toBeLessThan(0.35);
  expect(second).toBeLessThan(0.15);
});

test("the memory in use is told, and its limit can be lowered to the program's undoing", async () => {
  const code =
    "a = bytearray(100 << 20)\nfor i in range(0, len(a), 4096): a[i] = 1\nprint('up', flush=True)\nwhile True: a.extend(bytearray(1 << 20))";
  await using sandbox = await start(opened.driver, [
    PYTHON,
    "-c",
    `${code.replace("while True:", "import time; time.sleep(0.5)\nwhile True:")}`,
  ]);
  const ended = outcome(sandbox);
  await new Promise((resolve) => sandbox.stdout.once("data", resolve));
  if (opened.warnings.length === 0) expect(sandbox.memoryBytes()).toBeGreaterThan(100 * MEBIBYTE);
  sandbox.setLimits({ ...LIMITS, memoryBytes: 120 * MEBIBYTE });
  expect((await ended).cause).toBe("out_of_memory");
  expect(sandbox.memoryBytes()).toBe(0);
});
