import { join } from "node:path";
import type { Benchmark } from "../benchmark.ts";
import { fixed, megabytes, quantile, spread } from "../measure/statistics.ts";
import { freshen, writeTestFile } from "../measure/test-file.ts";
import { sendRaw } from "../measure/transfers.ts";
import { temporaryFolder } from "../servers/program.ts";
import { TreadleServer } from "../servers/treadle.ts";
import { CALL, checkHello, HELLO } from "./functions.ts";

export const filesBesideCalls: Benchmark = {
  name: "files-beside-calls",
  title: "Calls while a file is uploaded",
  method: `A warm inline function (Node) is called over and over on one connection: for a while with nothing else to do, then for as long as an upload of a large file by a
raw body takes. The upload's sender runs in the caller's process and shares the machine's cores with both; no target is set.`,

  async run({ quick, say }) {
    const size = quick ? 256 * 1024 * 1024 : 2 * 1024 ** 3;
    const rounds = quick ? 1 : 3;
    const aloneMs = quick ? 500 : 5_000;
    await using folder = await temporaryFolder();
    const source = join(folder.path, "source.bin");
    say(`writing ${megabytes(size)} of random bytes`);
    await writeTestFile(source, size);
    await using treadle = await TreadleServer.start(join(folder.path, "data"));
    await treadle.save("beside", { hello: HELLO.node });
    const callWhile = async (goesOn: () => boolean) => {
      const latencies: number[] = [];
      while (goesOn()) {
        const { text, ms } = await treadle.client.send("POST", "/v2/functions/beside/run/hello", CALL);
        checkHello(text);
        latencies.push(ms);
      }
      return latencies;
    };
    const callFor = (ms: number) => {
      const end = performance.now() + ms;
      return callWhile(() => performance.now() < end);
    };
    await callFor(aloneMs);
    const alone: number[][] = [];
    const beside: number[][] = [];
    const rates: number[] = [];
    for (let round = 0; round < rounds; round++) {
      say(`round ${round + 1} of ${rounds}`);
      alone.push(await callFor(aloneMs));
      await freshen(source);
      let over = false;
      const upload = sendRaw(`${treadle.url}/api/v1/workspaces/beside/files?name=large.bin`, source).finally(() => {
        over = true;
      });
      beside.push(await callWhile(() => !over));
      const { bytes, ms } = await upload;
      rates.push(bytes / 1e6 / (ms / 1000));
    }
    const row = (name: string, all: readonly number[][]) => [
      name,
      ...[0.5, 0.99].map((share) =>
        spread(
          all.map((latencies) => quantile(latencies, share)),
          fixed(2),
        ),
      ),
    ];
    return {
      tables: [
        {
          title: `${rounds} rounds; ms, median (least–most). The upload ran at ${spread(rates, fixed(0))} MB/s meanwhile`,
          columns: ["one call after the other", "p50", "p99"],
          rows: [row("alone", alone), row(`while ${megabytes(size)} are uploaded`, beside)],
        },
      ],
      bars: [],
      checks: [],
      notes: treadle.complaints.map((line) => `Treadle warned: ${line}`),
      measurements: { size, alone, beside, rates },
    };
  },
};
