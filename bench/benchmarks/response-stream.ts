import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Benchmark } from "../benchmark.ts";
import { PeakMemory } from "../measure/peak-memory.ts";
import { fixed, megabytes, spread } from "../measure/statistics.ts";
import { bring } from "../measure/transfers.ts";
import { type DeployedProgram, deployHandler, languagesHere } from "../servers/deployed.ts";
import { temporaryFolder } from "../servers/program.ts";
import { TreadleServer } from "../servers/treadle.ts";
import { STREAM_HANDLERS } from "./handlers.ts";

const BYTES = 100_000_000;
const MOST_GROWTH = 30_000_000;
/** A reader who takes his time, bytes per second. */
const SLOW = 25_000_000;
const REST_MS = 1_000;
const WAYS = { fast: "reader as fast as it can", slow: `reader of ${megabytes(SLOW)}/s` } as const;

interface Streamed {
  readonly program: DeployedProgram;
  readonly transport: string;
  readonly way: keyof typeof WAYS;
  /** Of each round: MB/s, and bytes. */
  readonly rate: number[];
  readonly growth: number[];
}

export const responseStream: Benchmark = {
  name: "response-stream",
  title: "Streamed responses",
  method: `A deployed handler answers ${megabytes(BYTES)} as a stream of 64 KiB pieces over \`/f/...\`, from instances that speak frames and from such that speak HTTP. Growth is the
peak of the server process's resident memory (the kernel's own high-water mark, set back before) over what it had before the call. The first round is the first large response
of the server's life.`,

  async run({ quick, say }) {
    const rounds = quick ? 1 : 5;
    await using folder = await temporaryFolder();
    const data = join(folder.path, "data");
    await using treadle = await TreadleServer.start(data);
    const { available, notes } = await languagesHere();
    const streams: Streamed[] = [];
    for (const runtime of available) {
      const file = STREAM_HANDLERS[runtime.language];
      if (file === undefined) continue;
      say(`deploying ${runtime.language}`);
      const program = await deployHandler(treadle, data, runtime, "stream", file);
      const transport = runtime.transports[0] as string;
      for (const way of ["fast", "slow"] as const) streams.push({ program, transport, way, rate: [], growth: [] });
      await bring(`${treadle.url}${program.path}?bytes=1000`);
    }
    const memory = new PeakMemory(treadle.program.pid);
    let short = 0;
    for (let round = 0; round < rounds; round++) {
      say(`round ${round + 1} of ${rounds}`);
      for (const { program, way, rate, growth } of streams) {
        await sleep(REST_MS);
        const before = memory.now();
        memory.reset();
        const url = `${treadle.url}${program.path}?bytes=${BYTES}`;
        const { bytes, ms } = await bring(url, way === "slow" ? { bytesPerSecond: SLOW } : {});
        growth.push(memory.peak() - before);
        rate.push(bytes / 1e6 / (ms / 1000));
        if (bytes !== BYTES) short += 1;
      }
    }
    return {
      tables: [
        {
          title: `${rounds} rounds; median (least–most)`,
          columns: ["", "instance speaks", "", "MB/s", "growth of the server, MB"],
          rows: streams.map(({ program, transport, way, rate, growth }) => [
            program.language,
            transport,
            WAYS[way],
            spread(rate, fixed(0)),
            spread(
              growth.map((bytes) => bytes / 1e6),
              fixed(1),
            ),
          ]),
        },
      ],
      bars: [...new Set(streams.map(({ transport }) => transport))].map((transport) => {
        const most = Math.max(...streams.filter((each) => each.transport === transport).flatMap(({ growth }) => growth));
        return {
          name: `Growth of the server over ${transport === "http" ? "HTTP" : transport}, the most of all responses`,
          target: `< ${megabytes(MOST_GROWTH)}`,
          reached: megabytes(most),
          pass: most < MOST_GROWTH,
        };
      }),
      checks: [{ name: "Every response came whole", pass: short === 0, seen: `${short} did not` }],
      notes: [...notes, ...treadle.complaints.map((line) => `Treadle warned: ${line}`)],
      measurements: streams.map(({ program, ...rest }) => ({ language: program.language, ...rest })),
    };
  },
};
