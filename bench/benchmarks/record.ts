import type { Benchmark, Check } from "../benchmark.ts";
import { CONNECTIONS, postFor } from "../measure/load.ts";
import { cpuSecondsOf, type ProcessFacts } from "../measure/processes.ts";
import { whole } from "../measure/statistics.ts";
import { temporaryFolder } from "../servers/program.ts";
import { type ExecutionCounts, type ServerProcesses, TreadleServer } from "../servers/treadle.ts";
import { HELLO, HELLO_AND_LOG } from "./functions.ts";

const SAMPLE_MS = 250;
const FUNCTIONS = {
  hello: HELLO.node,
  logging: HELLO_AND_LOG.node,
  echo: { code: "return text;", parameters: { text: { type: "string" } } },
};

export const record: Benchmark = {
  name: "record",
  title: "Recording executions",
  method: `A Node function is called on ${CONNECTIONS} connections as fast as it answers, and /metrics asked four times a second how many executions ended and how
many of their records are not yet written. What is written is ended less waiting less dropped; afterwards every record is read back. Processor time is that of the
server, its database and the instance, for each call.`,

  async run({ quick, say }) {
    const seconds = quick ? 2 : 15;
    const cases = [
      { title: "one-line function", call: "hello", body: { name: "world" } },
      { title: "one-line function that logs a line", call: "logging", body: { name: "world" } },
      { title: "2 KB in, 2 KB out", call: "echo", body: { text: "0123456789abcdef".repeat(128) } },
    ];
    await using folder = await temporaryFolder();
    await using treadle = await TreadleServer.start(folder.path);
    const checks: Check[] = [];
    const rows: string[][] = [];
    const measurements: unknown[] = [];
    for (const [index, { title, call, body }] of cases.entries()) {
      say(title);
      const workspace = `record-${index}`;
      await treadle.save(workspace, FUNCTIONS);
      const url = `${treadle.url}/v2/functions/${workspace}/run/${call}`;
      const text = JSON.stringify({ parameters: body });
      await postFor(1, url, text);

      const start = await treadle.settled();
      const processesBefore = await treadle.processes();
      const samples: (ExecutionCounts & { ms: number })[] = [];
      const began = performance.now();
      const sampler = setInterval(() => {
        treadle.counts().then((counts) => samples.push({ ...counts, ms: performance.now() - began }), console.error);
      }, SAMPLE_MS);
      const load = await postFor(seconds, url, text).finally(() => clearInterval(sampler));
      const lastSample = await treadle.counts();
      const elapsed = (performance.now() - began) / 1000;
      const ended = await treadle.settled();
      const drainMs = performance.now() - began - elapsed * 1000;
      const processesAfter = await treadle.processes();
      const stored = await treadle.stored(workspace);

      const executions = lastSample.ended - start.ended;
      const dropped = ended.dropped - start.dropped;
      const written = executions - lastSample.buffered - (lastSample.dropped - start.dropped);
      const cpu = (of: (processes: ServerProcesses) => readonly ProcessFacts[]) =>
        (((cpuSecondsOf(of(processesAfter)) - cpuSecondsOf(of(processesBefore))) / executions) * 1e6).toFixed(0);
      checks.push({
        name: `${title}: every execution recorded`,
        pass: dropped === 0 && stored >= load.requests,
        seen: `${whole(load.requests)} answers, ${whole(stored)} records read back with those of the warm-up, ${dropped} dropped`,
      });
      rows.push([
        title,
        whole(load.perSecond),
        whole(written / (load.requests / load.perSecond)),
        whole(Math.max(lastSample.buffered, ...samples.map(({ buffered }) => buffered))),
        drainMs.toFixed(0),
        String(dropped),
        [
          cpu(({ server }) => server),
          cpu(({ database }) => database),
          cpu(({ instances }) => [...instances.values()].flat()),
        ].join(" + "),
      ]);
      measurements.push({ title, load, start, lastSample, ended, samples, drainMs, stored });
    }
    return {
      tables: [
        {
          title: `${seconds} s each`,
          columns: [
            "",
            "calls/s",
            "records written/s",
            "most waiting",
            "ms until all were written",
            "dropped",
            "processor time a call, µs: server + database + instance",
          ],
          rows,
        },
      ],
      bars: [],
      checks,
      notes: treadle.complaints.map((line) => `Treadle warned: ${line}`),
      measurements,
    };
  },
};
