import { expect, test } from "vitest";
import { LEVEL } from "./channel-client.ts";
import { startNode } from "./node-server.ts";

test("console methods become one entry each, formatted as Node does", async () => {
  await using client = await startNode({
    functions: {
      all: `
        console.log("a %s %d", "b", 1, { c: [1] });
        console.info("two\\nlines");
        console.debug("d"); console.warn("w"); console.error("e");
        console.assert(true, "no"); console.assert(false, "yes");
        console.dir({ a: { b: { c: {} } } }, { depth: 0 });
        console.table([{ a: 1 }]);
        console.group("g"); console.log("in"); console.groupEnd(); console.log("out");
        console.count(); console.count();
        console.time("t"); console.timeEnd("t");
        console.trace("here");
        console.log();`,
    },
  });
  const { logs } = await client.call("all");
  const entries = logs.map(({ level, text }) => [level, text]);
  expect(entries).toEqual([
    [LEVEL.info, "a b 1 { c: [ 1 ] }"],
    [LEVEL.info, "two\nlines"],
    [LEVEL.debug, "d"],
    [LEVEL.warn, "w"],
    [LEVEL.error, "e"],
    [LEVEL.warn, "Assertion failed: yes"],
    [LEVEL.info, "{ a: [Object] }"],
    [LEVEL.info, expect.stringMatching(/^┌.*\n│ \(index\) │ a │[\s\S]*┘$/)],
    [LEVEL.info, "g"],
    [LEVEL.info, "  in"],
    [LEVEL.info, "out"],
    [LEVEL.info, "default: 1"],
    [LEVEL.info, "default: 2"],
    [LEVEL.info, expect.stringMatching(/^t: [\d.]+ms$/)],
    [LEVEL.error, expect.stringMatching(/^Trace: here\n {4}at all \(all\.js:11:17\)$/)],
    [LEVEL.info, ""],
  ]);
  for (const { time } of logs) expect(Math.abs(time - Date.now())).toBeLessThan(5000);
});

test("writes to stdout, stderr and file descriptors 1 and 2 become lines", async () => {
  await using client = await startNode({
    functions: {
      streams: `
        process.stdout.write("par"); process.stdout.write("tial\\nnext"); process.stderr.write("err\\r\\n");
        console.log("logged"); process.stdout.write("unended");
        process.stdout.end("!"); return process.stdout.writable;`,
      bytes: `
        const fs = require("fs"); const bytes = Buffer.from("€uro\\n");
        fs.writeSync(1, bytes, 0, 2); fs.writeSync(1, bytes, 2); fs.writeSync(2, "text\\n");
        fs.writevSync(1, [Buffer.from("v1 "), Buffer.from("v2\\n")]);
        const n = await new Promise((r) => fs.write(1, "async\\n", (e, n) => r(n)));
        const m = await require("util").promisify(fs.write)(2, Buffer.from("promised\\n"));
        require("stream").Readable.from(["piped\\n"]).pipe(process.stdout, { end: false });
        await new Promise((r) => setTimeout(r, 20));
        return [n, m.bytesWritten];`,
    },
  });
  const streams = await client.call("streams");
  expect(streams.logs.map(({ level, text }) => [level, text])).toEqual([
    [LEVEL.info, "partial"],
    [LEVEL.error, "err"],
    [LEVEL.info, "next"],
    [LEVEL.info, "logged"],
    [LEVEL.info, "unended!"],
  ]);
  expect(String(streams.result)).toBe("true");
  const bytes = await client.call("bytes");
  expect(bytes.logs.map(({ level, text }) => [level, text])).toEqual([
    [LEVEL.info, "€uro"],
    [LEVEL.error, "text"],
    [LEVEL.info, "v1 v2"],
    [LEVEL.info, "async"],
    [LEVEL.error, "promised"],
    [LEVEL.info, "piped"],
  ]);
  expect(String(bytes.result)).toBe("[6,9]");
  expect([client.stdout, client.stderr]).toEqual(["", ""]);
});

test("child processes that inherit stdio write into the execution's log", async () => {
  await using client = await startNode({
    functions: {
      spawned: `
        const { spawn, spawnSync, execSync, fork } = require("node:child_process");
        const child = spawn("/bin/sh", ["-c", "echo out; echo err >&2"], { stdio: "inherit" });
        const code = await new Promise((r) => child.on("exit", r));
        spawnSync("/bin/sh", ["-c", "echo sync"], { stdio: ["ignore", "inherit", "inherit"] });
        execSync("echo exec; echo quiet >&2", { stdio: "inherit" });
        return code;`,
    },
  });
  const { logs, result } = await client.call("spawned");
  expect(String(result)).toBe("0");
  expect(logs.map(({ text }) => text).sort()).toEqual(["err", "exec", "out", "quiet", "sync"]);
  expect([client.stdout, client.stderr]).toEqual(["", ""]);
});

test("1,000 concurrent calls that log 20 lines each: every line in its own execution, in order, none lost", async () => {
  await using client = await startNode({
    functions: {
      noisy: {
        code: `
          const emitter = new (require("events"))();
          emitter.on("line", (i) => console.log(n + ":" + i));
          for (let i = 0; i < 20; i++) {
            if (i % 5 === 0) await new Promise((r) => setTimeout(r, Math.random() * 5));
            if (i % 5 === 1) await null;
            if (i % 5 === 2) process.stdout.write(n + ":" + i + "\\n");
            else if (i % 5 === 3) await new Promise((r) => setImmediate(() => { emitter.emit("line", i); r(); }));
            else console.log(n + ":" + i);
          }
          return n;`,
        parameters: ["n"],
      },
    },
  });
  const answers = await Promise.all(Array.from({ length: 1000 }, (_, n) => client.call("noisy", { n })));
  answers.forEach((answer, n) => {
    expect(String(answer.result)).toBe(String(n));
    expect(answer.logs.map(({ text }) => text)).toEqual(Array.from({ length: 20 }, (_, i) => `${n}:${i}`));
  });
  expect(client.ownerless).toEqual([]);
  expect(client.violations).toEqual([]);
});

test("entries and logs have limits; late entries belong to nobody", async () => {
  await using client = await startNode({
    limits: { logEntryCharacters: 100, logBytes: 1000 },
    functions: {
      long: "console.log('x'.repeat(500)); console.log('y'.repeat(99) + '\\ud83d\\ude00'); process.stdout.write('z'.repeat(1e6)); process.stdout.write('z\\nend\\n');",
      much: "for (let i = 0; i < 1000; i++) console.log('line ' + i); return 'still answers';",
      late: "setTimeout(() => { console.log('late'); process.stdout.write('late too\\n'); }, 20); return 1;",
    },
  });
  const long = await client.call("long");
  expect(long.logs.map(({ flags, text }) => [flags, text])).toEqual([
    [1, "x".repeat(100)],
    [1, "y".repeat(99)],
    [1, "z".repeat(100)],
    [0, "end"],
  ]);
  const much = await client.call("much");
  expect(String(much.result)).toBe('"still answers"');
  expect(much.logs.length).toBeGreaterThan(80);
  expect(much.logs.length).toBeLessThan(130);
  expect(much.logs.at(-1)).toMatchObject({ level: LEVEL.warn, flags: 1, text: "[log truncated]" });
  await client.call("late");
  await expect.poll(() => client.ownerless.map(({ text }) => text)).toEqual(["late", "late too"]);
  expect(client.violations).toEqual([]);
});

test("what is logged right before an endless loop is not lost", async () => {
  await using client = await startNode({
    functions: {
      spin: `console.log("one"); process.stdout.write("two\\n"); console.log("three"); for (;;);`,
      fast: `console.log("fast"); return 1;`,
    },
  });
  const fast = client.call("fast");
  client.start("spin", Buffer.from("{}")).answer.catch(() => "it is killed at the end");
  await expect.poll(() => client.entries.map(({ text }) => text)).toEqual(["fast", "one", "two", "three"]);
  expect((await fast).result?.toString()).toBe("1");
});
