import type { Bar, Benchmark } from "../benchmark.ts";
import { Client } from "../measure/client.ts";
import { CONNECTIONS, type Load, postFor } from "../measure/load.ts";
import { fixed, median, spread, whole } from "../measure/statistics.ts";
import { startBareAiohttp, startBareNodeHttp, startFunctionsFramework } from "../servers/peers.ts";
import { temporaryFolder } from "../servers/program.ts";
import { TreadleServer } from "../servers/treadle.ts";
import { CALL, CALL_TEXT, checkHello, HELLO, HELLO_AND_LOG } from "./functions.ts";

const NAMES = {
  bare: "bare node:http",
  node: "Treadle, Node",
  nodeLog: "Treadle, Node, logs one line",
  framework: "functions-framework 5.0.5",
  aiohttp: "bare aiohttp 3.14.5",
  python: "Treadle, Python",
  pythonLog: "Treadle, Python, logs one line",
} as const;
type Name = keyof typeof NAMES;

export const warmCall: Benchmark = {
  name: "warm-call",
  title: "Warm call",
  method: `A one-line function is called on ${CONNECTIONS} connections with a small JSON body. All servers run at once and take turns: in each
round each is called for some seconds, the order shifting from round to round; ratios are taken within a round. The bare servers parse the
same body and build the same answer in one process. Treadle runs the function in its sandbox, keeps its log, and records every execution in its
database, whose work counts against it; before the next server's turn its records are all written.`,

  async run({ quick, say }) {
    const rounds = quick ? 2 : 9;
    const seconds = quick ? 1 : 5;
    await using folder = await temporaryFolder();
    await using treadle = await TreadleServer.start(folder.path);
    await using bare = await startBareNodeHttp();
    await using framework = await startFunctionsFramework();
    await using aiohttp = await startBareAiohttp();
    await treadle.save("warm-node", { hello: HELLO.node, logging: HELLO_AND_LOG.node });
    await treadle.save("warm-python", { hello: HELLO.python, logging: HELLO_AND_LOG.python });

    const run = (workspace: string, name: string) => `${treadle.url}/v2/functions/${workspace}/run/${name}`;
    const urls: Record<Name, string> = {
      bare: `${bare.url}/`,
      node: run("warm-node", "hello"),
      framework: `${framework.url}/`,
      nodeLog: run("warm-node", "logging"),
      aiohttp: `${aiohttp.url}/`,
      python: run("warm-python", "hello"),
      pythonLog: run("warm-python", "logging"),
    };
    const names = Object.keys(urls) as Name[];
    const all: Record<Name, Load>[] = [];
    let answered = 0;
    let bursts = 0;
    // Round -1 is for the compilers to warm up and is not counted.
    for (let round = -1; round < rounds; round++) {
      say(round < 0 ? "warming up" : `round ${round + 1} of ${rounds}`);
      const loads = {} as Record<Name, Load>;
      for (let turn = 0; turn < names.length; turn++) {
        const name = names[(turn + round + 1) % names.length] as Name;
        await checkAnswer(urls[name]);
        loads[name] = await postFor(seconds, urls[name], CALL_TEXT);
        if (!urls[name].startsWith(treadle.url)) continue;
        answered += loads[name].requests + 1;
        bursts += 1;
        await treadle.settled();
      }
      if (round >= 0) all.push(loads);
    }

    say("reading the executions back");
    const counts = await treadle.settled();
    const stored = (await treadle.stored("warm-node")) + (await treadle.stored("warm-python"));
    const ratio = (above: Name, below: Name, of: "perSecond" | "p99") => all.map((loads) => loads[above][of] / loads[below][of]);
    const bar = (name: string, target: string, values: number[], holds: (value: number) => boolean): Bar => ({
      name,
      target,
      reached: spread(values, (value) => `${value.toFixed(2)}×`),
      pass: holds(median(values)),
    });
    return {
      tables: [
        {
          title: `${rounds} rounds of ${seconds} s: median (least–most)`,
          columns: ["server", "requests/s", "of bare node:http", "p50 ms", "p99 ms", "p99 of bare node:http"],
          rows: (Object.keys(NAMES) as Name[]).map((name) => {
            const values = (of: keyof Load) => all.map((loads) => loads[name][of]);
            return [
              NAMES[name],
              spread(values("perSecond"), whole),
              spread(ratio(name, "bare", "perSecond"), fixed(2)),
              spread(values("p50"), fixed(2)),
              spread(values("p99"), fixed(2)),
              spread(ratio(name, "bare", "p99"), fixed(2)),
            ];
          }),
        },
      ],
      bars: [
        bar(
          "Node, requests/s of bare node:http",
          "≥ 0.5× (aim 0.8×)",
          ratio("node", "bare", "perSecond"),
          (value) => value >= 0.5,
        ),
        bar("Node, p99 of bare node:http's", "≤ 4×", ratio("node", "bare", "p99"), (value) => value <= 4),
        bar("Node, requests/s of functions-framework", "≥ 2×", ratio("node", "framework", "perSecond"), (value) => value >= 2),
        bar("Python, requests/s of bare aiohttp", "≥ 1.0×", ratio("python", "aiohttp", "perSecond"), (value) => value >= 1),
        bar("Python, requests/s of bare node:http", "≥ 0.3×", ratio("python", "bare", "perSecond"), (value) => value >= 0.3),
      ],
      checks: [
        {
          name: "Every call was recorded and none dropped",
          // At the end of a burst the generator hangs up on the calls that are under way: those ended, but nobody counted an answer.
          pass:
            counts.dropped === 0 && stored === counts.ended && stored >= answered && stored <= answered + bursts * CONNECTIONS,
          seen: `${whole(answered)} answers, ${whole(counts.ended)} executions, ${whole(stored)} read back, ${counts.dropped} dropped`,
        },
      ],
      notes: treadle.complaints.map((line) => `Treadle warned: ${line}`),
      measurements: { rounds: all, counts, stored, answered },
    };
  },
};

async function checkAnswer(url: string): Promise<void> {
  const { origin, pathname } = new URL(url);
  using client = new Client(origin);
  checkHello((await client.send("POST", pathname, CALL)).text);
}
