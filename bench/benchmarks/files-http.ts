import { openSync, readSync } from "node:fs";
import { rm } from "node:fs/promises";
import { Agent } from "node:http";
import { join } from "node:path";
import type { Benchmark } from "../benchmark.ts";
import { PeakMemory } from "../measure/peak-memory.ts";
import { fixed, median, megabytes, quantile, spread } from "../measure/statistics.ts";
import { freshen, writeTestFile } from "../measure/test-file.ts";
import { bring, sendMultipart, sendRaw, sendTus, type Transfer } from "../measure/transfers.ts";
import { Program, temporaryFolder } from "../servers/program.ts";
import { TreadleServer } from "../servers/treadle.ts";

const WAYS = ["raw", "multipart", "tus", "download"] as const;
type Way = (typeof WAYS)[number];
const TITLES: Record<Way | "sink" | "source", string> = {
  raw: "upload, raw body",
  multipart: "upload, multipart",
  tus: "upload, tus (tus-js-client)",
  download: "download",
  sink: "bare node:http, body thrown away",
  source: "bare node:http, file sent",
};
const RANGE_BYTES = 1_000_000;
const IDLE_MS = 2_000;

export const filesHttp: Benchmark = {
  name: "files-http",
  title: "Large files over HTTP",
  method: `A large file is sent to the server and brought from it, by each way with a server started for it. Growth is the peak of the server process's resident memory
(the kernel's own high-water mark, set back before) over what it had at rest after its start. The server hashes what comes and has it flushed to disk before it answers; a
bare node:http server in the same round reads a body and throws it away, and sends the same file. Sender and receiver share the machine's cores with the server. Then parts of
1 MB from random places of the file are brought on one connection, in turn with the same from the bare server, and compared with the file.`,

  async run({ quick, say }) {
    const size = quick ? 64 * 1024 * 1024 : 2 * 1024 ** 3;
    const rounds = quick ? 1 : 3;
    const ranges = quick ? 50 : 500;
    await using folder = await temporaryFolder();
    const source = join(folder.path, "source.bin");
    say(`writing ${megabytes(size)} of random bytes`);
    await writeTestFile(source, size);
    await using bare = await Program.start(
      [process.execPath, join(import.meta.dirname, "..", "servers", "bare-file-server.ts"), source],
      () => {},
    );
    const complaints: string[] = [];
    const rate: Record<keyof typeof TITLES, number[]> = { raw: [], multipart: [], tus: [], download: [], sink: [], source: [] };
    const growth: Record<Way, number[]> = { raw: [], multipart: [], tus: [], download: [] };
    const idle: number[] = [];
    const took = (name: keyof typeof TITLES, { bytes, ms }: Transfer) => rate[name].push(bytes / 1e6 / (ms / 1000));
    let latencies: { treadle: number[]; bare: number[] } = { treadle: [], bare: [] };
    let wrongRanges = 0;
    for (let round = 0; round < rounds; round++) {
      say(`round ${round + 1} of ${rounds}`);
      took("sink", await sendRaw(`${bare.url}/`, source));
      took("source", await bring(`${bare.url}/`));
      for (const way of WAYS) {
        await freshen(source);
        const data = join(folder.path, "data");
        {
          await using treadle = await TreadleServer.start(data);
          const files = `${treadle.url}/api/v1/workspaces/bench/files`;
          // A download needs the file, and a server that has not seen it come.
          if (way === "download") await sendRaw(`${files}?name=large.bin`, source);
          await using serving = way === "download" ? await restarted(treadle, data) : treadle;
          const at = `${serving.url}/api/v1/workspaces/bench`;
          await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
          const memory = new PeakMemory(serving.program.pid);
          const before = memory.now();
          idle.push(before);
          memory.reset();
          if (way === "raw") took(way, await sendRaw(`${at}/files?name=large.bin`, source));
          else if (way === "multipart") took(way, await sendMultipart(`${at}/files`, source));
          else if (way === "tus") took(way, await sendTus(`${at}/uploads`, source));
          else took(way, await bring(`${at}/files/${await onlyFile(serving)}/content`));
          growth[way].push(memory.peak() - before);
          if (way === "download" && round === rounds - 1) {
            say(`${ranges} ranges`);
            const content = `${at}/files/${await onlyFile(serving)}/content`;
            ({ latencies, wrong: wrongRanges } = await rangeLatencies(content, bare.url, source, size, ranges));
          }
          complaints.push(...serving.complaints);
        }
        await rm(data, { recursive: true });
      }
    }
    const most = Math.max(...WAYS.flatMap((way) => growth[way]));
    const p50 = median(latencies.treadle);
    return {
      tables: [
        {
          title: `${megabytes(size)}, ${rounds} rounds; median (least–most). At rest the server had ${spread(idle, megabytes)}`,
          columns: ["", "MB/s", "of the bare server", "growth of the server, MB"],
          rows: (Object.keys(TITLES) as (keyof typeof TITLES)[]).map((name) => {
            const below = rate[name === "download" || name === "source" ? "source" : "sink"];
            return [
              TITLES[name],
              spread(rate[name], fixed(0)),
              spread(
                rate[name].map((value, round) => value / (below[round] as number)),
                fixed(2),
              ),
              name === "sink" || name === "source"
                ? ""
                : spread(
                    growth[name].map((value) => value / 1e6),
                    fixed(1),
                  ),
            ];
          }),
        },
        {
          title: `1 MB from random places, ${ranges} times; ms`,
          columns: ["", "p50", "p99", "most"],
          rows: (["treadle", "bare"] as const).map((name) => [
            name === "treadle" ? "Treadle" : "bare node:http",
            ...[0.5, 0.99, 1].map((share) => quantile(latencies[name], share).toFixed(2)),
          ]),
        },
      ],
      bars: [
        {
          name: "Growth of the server, the most of all transfers",
          target: "< 60 MB",
          reached: megabytes(most),
          pass: most < 60e6,
        },
        { name: "1 MB range, p50", target: "≤ 5 ms", reached: `${p50.toFixed(2)} ms`, pass: p50 <= 5 },
      ],
      checks: [
        {
          name: "Every range was the file's bytes",
          pass: wrongRanges === 0,
          seen: `${wrongRanges} of ${ranges} were not`,
        },
      ],
      notes: complaints.map((line) => `Treadle warned: ${line}`),
      measurements: { size, rate, growth, idle, latencies },
    };
  },
};

async function restarted(treadle: TreadleServer, data: string): Promise<TreadleServer> {
  await treadle[Symbol.asyncDispose]();
  return TreadleServer.start(data);
}

async function onlyFile(treadle: TreadleServer): Promise<string> {
  const { files } = await treadle.client.get<{ files: readonly [{ id: string }] }>("/api/v1/workspaces/bench/files");
  return files[0].id;
}

async function rangeLatencies(
  treadle: string,
  bare: string,
  path: string,
  size: number,
  count: number,
): Promise<{ latencies: { treadle: number[]; bare: number[] }; wrong: number }> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const file = openSync(path, "r");
  const latencies = { treadle: [] as number[], bare: [] as number[] };
  let wrong = 0;
  const expected = Buffer.alloc(RANGE_BYTES);
  // The first ten are for the compilers and not counted.
  for (let number = -10; number < count; number++) {
    const start = Math.floor(Math.random() * (size - RANGE_BYTES));
    const range = `${start}-${start + RANGE_BYTES - 1}`;
    readSync(file, expected, 0, RANGE_BYTES, start);
    const chunks: Buffer[] = [];
    const { ms } = await bring(treadle, { range, agent, onChunk: (chunk) => chunks.push(chunk) });
    if (!Buffer.concat(chunks).equals(expected)) wrong += 1;
    const other = await bring(bare, { range, agent, onChunk: () => {} });
    if (number < 0) continue;
    latencies.treadle.push(ms);
    latencies.bare.push(other.ms);
  }
  agent.destroy();
  return { latencies, wrong };
}
