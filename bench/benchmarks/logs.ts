import type { Benchmark, Check } from "../benchmark.ts";
import { Client } from "../measure/client.ts";
import { temporaryFolder } from "../servers/program.ts";
import { TreadleServer } from "../servers/treadle.ts";

const LINES = 20;

/**
 * Each logs its lines with pauses of random length in between, so that the lines of all calls mix. Those that await first wait until all calls
 * are there; threads cannot, as there are fewer of them than calls.
 */
const FUNCTIONS = {
  "Node, await": {
    code: `cache.running = (cache.running ?? 0) + 1;
cache.most = Math.max(cache.most ?? 0, cache.running);
while (cache.most < calls) await new Promise((resolve) => setTimeout(resolve, 10));
for (let line = 0; line < ${LINES}; line++) {
  console.log(\`call \${call} line \${line}\`);
  if (line % 4 === 3) await new Promise((resolve) => setTimeout(resolve, 50 * Math.random()));
}
cache.running -= 1;
return cache.most;`,
    parameters: { call: { type: "integer" }, calls: { type: "integer" } },
  },
  "Python, await": {
    language: "python",
    code: `import asyncio, random
cache["running"] = cache.get("running", 0) + 1
cache["most"] = max(cache.get("most", 0), cache["running"])
while cache["most"] < calls:
    await asyncio.sleep(0.01)
for line in range(${LINES}):
    print(f"call {call} line {line}")
    if line % 4 == 3:
        await asyncio.sleep(0.05 * random.random())
cache["running"] -= 1
return cache["most"]`,
    parameters: { call: { type: "integer" }, calls: { type: "integer" } },
  },
  "Python, threads": {
    language: "python",
    code: `import random, threading, time
lock = cache.setdefault("lock", threading.Lock())
with lock:
    cache["running"] = cache.get("running", 0) + 1
    cache["most"] = max(cache.get("most", 0), cache["running"])
for line in range(${LINES}):
    print(f"call {call} line {line}")
    if line % 4 == 3:
        time.sleep(0.05 * random.random())
with lock:
    cache["running"] -= 1
return cache["most"]`,
    parameters: { call: { type: "integer" }, calls: { type: "integer" } },
  },
} as const;

export const logs: Benchmark = {
  name: "logs",
  title: "Logs under concurrency",
  method: `A check rather than a measurement: concurrent calls of one workspace, each on a connection of its own, each logging ${LINES} lines with pauses of random
length in between, where the language allows it all at once. Every answer must hold exactly its own lines in order, and so must the record of every execution, read back from the database.`,

  async run({ quick, say }) {
    const calls = quick ? 100 : 1_000;
    await using folder = await temporaryFolder();
    await using treadle = await TreadleServer.start(folder.path);
    using client = new Client(treadle.url, calls);
    const checks: Check[] = [];
    const rows: string[][] = [];
    for (const [index, [name, code]] of Object.entries(FUNCTIONS).entries()) {
      say(name);
      const workspace = `logs-${index}`;
      await treadle.save(workspace, { talk: code });
      const start = performance.now();
      const answers = await Promise.all(
        Array.from({ length: calls }, async (_, call) => {
          const { text } = await client.send("POST", `/v2/functions/${workspace}/run/talk`, { parameters: { call, calls } });
          return JSON.parse(text) as { result: number; logs: string[] };
        }),
      );
      const seconds = (performance.now() - start) / 1000;
      const inAnswers = answers.filter(({ logs }, call) => isWhole(logs, call)).length;
      await treadle.settled();
      const inRecords = await recordsWithWholeLogs(treadle, workspace);
      checks.push({
        name: `${name}: every line in its own execution, none lost, in order`,
        pass: inAnswers === calls && inRecords === calls,
        seen: `${calls} calls of ${LINES} lines: right in ${inAnswers} answers and ${inRecords} records`,
      });
      rows.push([name, String(calls), String(Math.max(...answers.map(({ result }) => result))), seconds.toFixed(2)]);
    }
    const passed = checks.every(({ pass }) => pass);
    return {
      tables: [{ title: "", columns: ["", "calls", "most of them running at once", "seconds"], rows }],
      bars: [
        {
          name: `${calls} concurrent calls of ${LINES} lines each`,
          target: "every line in its own execution, none lost, in order",
          reached: passed
            ? "so it is"
            : checks
                .filter(({ pass }) => !pass)
                .map(({ seen }) => seen)
                .join("; "),
          pass: passed,
        },
      ],
      checks,
      notes: treadle.complaints.map((line) => `Treadle warned: ${line}`),
      measurements: { checks, rows },
    };
  },
};

function isWhole(logs: readonly string[], call: number): boolean {
  return logs.length === LINES && logs.every((line, index) => line === `call ${call} line ${index}`);
}

/** How many different calls have a record that holds exactly their lines. */
async function recordsWithWholeLogs(treadle: TreadleServer, workspace: string): Promise<number> {
  const whole = new Set<number>();
  let after: string | null = null;
  do {
    const page: { executions: { input: string; logs: { message: string }[] }[]; next: string | null } = await treadle.client.get(
      `/api/v1/executions?workspace=${workspace}&limit=500${after === null ? "" : `&after=${encodeURIComponent(after)}`}`,
    );
    for (const { input, logs } of page.executions) {
      const { call } = JSON.parse(input) as { call: number };
      const messages = logs.map(({ message }) => message);
      if (isWhole(messages, call)) whole.add(call);
    }
    after = page.next;
  } while (after !== null);
  return whole.size;
}
