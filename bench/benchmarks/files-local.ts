import { execFile } from "node:child_process";
import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Benchmark } from "../benchmark.ts";
import { Client } from "../measure/client.ts";
import { fixed, median, megabytes, spread } from "../measure/statistics.ts";
import { freshen, writeTestFile } from "../measure/test-file.ts";
import { Program, temporaryFolder } from "../servers/program.ts";

const run = promisify(execFile);

export const filesLocal: Benchmark = {
  name: "files-local",
  title: "Storing a large file locally",
  method: `A file that is in the page cache is put through the files package into local storage (hashed, flushed to disk, renamed into place, its row committed);
then copied with \`cp\` and hashed with \`sha256sum\`, one after the other; then the same with \`sync\` of the copy, which is what putting does. Interleaved, the order
shifting from round to round; before each, the disk has nothing left to write (\`sync\`). The content changes a little before each, so that storage never has it yet.`,

  async run({ quick, say }) {
    const size = quick ? 64 * 1024 * 1024 : 2 * 1024 ** 3;
    const rounds = quick ? 2 : 5;
    await using folder = await temporaryFolder();
    const source = join(folder.path, "source.bin");
    const copy = join(folder.path, "copy.bin");
    say(`writing ${megabytes(size)} of random bytes`);
    await writeTestFile(source, size);
    const complaints: string[] = [];
    const script = join(import.meta.dirname, "..", "servers", "files-package.ts");
    await using files = await Program.start([process.execPath, script, join(folder.path, "data")], (line) =>
      complaints.push(line),
    );
    using client = new Client(files.url);

    const copyAndHash = async (sync: boolean) => {
      const start = performance.now();
      await run("cp", [source, copy]);
      await run("sha256sum", [source]);
      if (sync) await run("sync", [copy]);
      const ms = performance.now() - start;
      await rm(copy);
      return ms;
    };
    const ways = {
      put: async () => {
        const answer = JSON.parse((await client.send("POST", `/?${encodeURIComponent(source)}`)).text) as {
          ms: number;
          size: number;
        };
        if (answer.size !== (await stat(source)).size) throw new Error(`${answer.size} bytes were stored`);
        return answer.ms;
      },
      plain: () => copyAndHash(false),
      synced: () => copyAndHash(true),
    };
    const names = ["put", "plain", "synced"] as const;
    const ms: Record<(typeof names)[number], number[]> = { put: [], plain: [], synced: [] };
    // Round -1 brings the source into the page cache and is not counted.
    for (let round = -1; round < rounds; round++) {
      say(round < 0 ? "warming up" : `round ${round + 1} of ${rounds}`);
      for (let turn = 0; turn < names.length; turn++) {
        const name = names[(turn + round + 1) % names.length] as (typeof names)[number];
        await freshen(source);
        await run("sync");
        const took = await ways[name]();
        if (round >= 0) ms[name].push(took);
      }
    }
    const ratio = (below: "plain" | "synced") => ms.put.map((value, round) => value / (ms[below][round] as number));
    const row = (name: string, values: readonly number[], ratios: readonly number[] | null) => [
      name,
      spread(
        values.map((value) => value / 1000),
        fixed(2),
      ),
      spread(
        values.map((value) => size / 1e6 / (value / 1000)),
        fixed(0),
      ),
      ratios === null ? "" : spread(ratios, fixed(2)),
    ];
    return {
      tables: [
        {
          title: `${megabytes(size)}, ${rounds} rounds; median (least–most)`,
          columns: ["", "s", "MB/s", "put takes, of it"],
          rows: [
            row("put", ms.put, null),
            row("`cp`, `sha256sum`", ms.plain, ratio("plain")),
            row("`cp`, `sha256sum`, `sync`", ms.synced, ratio("synced")),
          ],
        },
      ],
      bars: [
        {
          name: "put, of `cp` plus `sha256sum`",
          target: "≤ 1.3×",
          reached: `${median(ratio("plain")).toFixed(2)}×; with \`sync\` ${median(ratio("synced")).toFixed(2)}×`,
          pass: median(ratio("plain")) <= 1.3,
        },
      ],
      checks: [],
      notes: complaints.map((line) => `The files package warned: ${line}`),
      measurements: { size, ms },
    };
  },
};
