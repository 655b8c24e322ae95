import { join } from "node:path";
import type { Benchmark } from "../benchmark.ts";
import { fixed, median, quantile, spread, whole } from "../measure/statistics.ts";
import { privatePostgres } from "../servers/postgres.ts";
import { temporaryFolder } from "../servers/program.ts";
import { TreadleServer } from "../servers/treadle.ts";
import { HELLO } from "./functions.ts";

const EXECUTIONS = 1_000;
const CLIENTS = 50;
const PAGE = 1_000;
const BODY = { parameters: { name: "world" } };
const ROUTE = "/api/v1/workspaces/queue/functions/hello/executions?mode=async";
const BARS = { embedded: 200, server: 400 } as const;

interface Listed {
  readonly id: string;
  readonly state: string;
  readonly queuedMs: number;
  readonly output: string | null;
}

interface Round {
  /** From the first request to the last recorded end. */
  readonly seconds: number;
  /** From the first request to the last 202. */
  readonly acceptedSeconds: number;
  /** From arrival to the start of user code, ms, of each execution, one asked for at a time. */
  readonly starts: number[];
}

export const asyncExecutions: Benchmark = {
  name: "async-executions",
  title: "Asynchronous executions",
  method: `${EXECUTIONS} executions of a one-line Node function are queued over HTTP by ${CLIENTS} clients, each 202 after the execution is durable; the clock stops when the
end of the last one is recorded in the database. Start: the time from the arrival of a request to the start of user code, of 200 executions that are asked for one after the other, as their records
have it. On the embedded database and on a Postgres server of its own, which is the system's where there is one.`,

  async run({ quick, say }) {
    const rounds = quick ? 1 : 5;
    const rows: string[][] = [];
    const all: Record<string, Round[]> = {};
    const complaints: string[] = [];
    for (const kind of ["embedded", "server"] as const) {
      await using folder = await temporaryFolder();
      await using postgres = kind === "server" ? await privatePostgres(join(folder.path, "postgres")) : null;
      const flags = postgres === null ? [] : ["--database-url", postgres.url];
      await using treadle = await TreadleServer.start(join(folder.path, "data"), flags);
      await treadle.save("queue", { hello: HELLO.node });
      await treadle.client.send("POST", "/v2/functions/queue/run/hello", BODY);
      const measured: Round[] = [];
      for (let round = 0; round < rounds; round++) {
        say(`${kind}, round ${round + 1} of ${rounds}`);
        measured.push(await measure(treadle));
      }
      all[kind] = measured;
      complaints.push(...treadle.complaints);
      const starts = measured.flatMap((each) => each.starts);
      rows.push([
        kind === "embedded" ? "embedded" : `server (Postgres ${postgres?.version})`,
        spread(
          measured.map((each) => EXECUTIONS / each.seconds),
          whole,
        ),
        spread(
          measured.map((each) => EXECUTIONS / each.acceptedSeconds),
          whole,
        ),
        fixed(1)(median(starts)),
        fixed(1)(quantile(starts, 0.99)),
      ]);
    }
    const rate = (kind: keyof typeof BARS) => median((all[kind] as Round[]).map((each) => EXECUTIONS / each.seconds));
    const start = median((all.embedded as Round[]).flatMap((each) => each.starts));
    return {
      tables: [
        {
          title: `${rounds} rounds; a second, median (least–most); start in ms`,
          columns: ["database", "end to end", "accepted", "start p50", "start p99"],
          rows,
        },
      ],
      bars: [
        ...(["embedded", "server"] as const).map((kind) => ({
          name: `end to end, ${kind}`,
          target: `at least ${BARS[kind]}/s`,
          reached: `${whole(rate(kind))}/s`,
          pass: rate(kind) >= BARS[kind],
        })),
        { name: "enqueue to start, embedded, p50", target: "at most 20 ms", reached: `${fixed(1)(start)} ms`, pass: start <= 20 },
      ],
      checks: [],
      notes: complaints.map((line) => `Treadle warned: ${line}`),
      measurements: all,
    };
  },
};

async function measure(treadle: TreadleServer): Promise<Round> {
  const first = Date.now();
  const began = performance.now();
  let left = EXECUTIONS;
  await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      while (left-- > 0) await treadle.client.send("POST", ROUTE, BODY);
    }),
  );
  const accepted = performance.now();
  for (;;) {
    const { queued, running } = (await treadle.client.get("/api/v1/queue")) as { queued: number; running: number };
    if (queued + running === 0) break;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const ended = performance.now();
  const page = (await treadle.client.get(`/api/v1/executions?workspace=queue&trigger=async&since=${first}&limit=${PAGE}`)) as {
    executions: Listed[];
  };
  const good = page.executions.filter(({ state, output }) => state === "succeeded" && output === '"Hello world"').length;
  if (good !== EXECUTIONS) throw new Error(`${good} of ${EXECUTIONS} executions succeeded`);
  const starts: number[] = [];
  for (let n = 0; n < 200; n++) {
    const { text } = await treadle.client.send("POST", ROUTE, BODY);
    const { id } = (JSON.parse(text) as { execution: Listed }).execution;
    const done = (await treadle.client.get(`/api/v1/executions/${id}?wait=10`)) as Listed;
    starts.push(done.queuedMs);
  }
  return { seconds: (ended - began) / 1000, acceptedSeconds: (accepted - began) / 1000, starts };
}
