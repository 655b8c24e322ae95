import { join } from "node:path";
import type { Bar, Benchmark } from "../benchmark.ts";
import { Client } from "../measure/client.ts";
import { fixed, median, quantile, spread } from "../measure/statistics.ts";
import { type DeployedProgram, deployExample, languagesHere } from "../servers/deployed.ts";
import { temporaryFolder } from "../servers/program.ts";
import { RuntimeServer } from "../servers/runtime-server.ts";
import { TreadleServer, until } from "../servers/treadle.ts";

/** Most that a first response may take longer than by hand, ms. */
const BARS: Readonly<Record<string, number>> = {
  ...{ go: 40, rust: 40, cpp: 40 },
  ...{ node: 150, bun: 150, deno: 150, php: 150, ruby: 150 },
  ...{ java: 600, kotlin: 600 },
};

/** Times of one language, ms; those of one round have the same index. */
interface Starts {
  readonly treadle: number[];
  readonly byHand: number[];
}

export const coldStart: Benchmark = {
  name: "cold-start",
  title: "Cold start of deployments",
  method: `The example of every language is deployed with \`treadle deploy\`. A call over \`/f/...\` then finds no instance: the server runs without prewarming and stops
instances that were idle for a second (\`--prewarmed 0 --idle-timeout 1\`), and a call is made when the last one is gone. The deployment's layers stay on disk, as they do. "By hand"
is the same program, from the same folders, started with the language's \`launch.sh\` as a plain process on a TCP port, without sandbox: from its start to the end of its first
response. The two take turns; "above" is the difference within a round.`,

  async run({ quick, say }) {
    const rounds = quick ? 2 : 15;
    await using folder = await temporaryFolder();
    const data = join(folder.path, "data");
    await using treadle = await TreadleServer.start(data, ["--prewarmed", "0", "--idle-timeout", "1"]);
    const { available, notes } = await languagesHere();
    const examples: DeployedProgram[] = [];
    for (const runtime of available) {
      say(`deploying ${runtime.language}`);
      examples.push(await deployExample(treadle, data, runtime));
    }
    const starts = new Map<string, Starts>(examples.map(({ language }) => [language, { treadle: [], byHand: [] }]));
    // The first round brings files into the system's cache and Treadle's own code to speed; it does not count.
    for (let round = -1; round < rounds; round++) {
      say(round < 0 ? "warming up" : `round ${round + 1} of ${rounds}`);
      for (const example of examples) {
        const { treadle: cold, byHand } = starts.get(example.language) as Starts;
        const turns = [
          async () => ({ into: cold, ms: await firstResponse(treadle, example) }),
          async () => ({ into: byHand, ms: await firstResponseByHand(example) }),
        ];
        for (const turn of round % 2 === 0 ? turns : turns.toReversed()) {
          await until(async () => ((await treadle.instances()).instances.length === 0 ? true : null), "no instance is left");
          const { into, ms } = await turn();
          if (round >= 0) into.push(ms);
        }
      }
    }
    const above = ({ treadle: cold, byHand }: Starts) => cold.map((ms, round) => ms - (byHand[round] as number));
    const ms = (values: readonly number[]) => spread(values, fixed(1));
    return {
      tables: [
        {
          title: `${rounds} rounds; ms, median (least–most)`,
          columns: ["", "first response", "p95 of it", "by hand", "above"],
          rows: [...starts].map(([language, each]) => [
            language,
            ms(each.treadle),
            quantile(each.treadle, 0.95).toFixed(1),
            ms(each.byHand),
            ms(above(each)),
          ]),
        },
      ],
      bars: [...starts].flatMap(([language, each]): Bar[] => {
        const most = BARS[language];
        if (most === undefined) return [];
        const reached = median(above(each));
        return [
          {
            name: `${language}, p50 of the first response above by hand`,
            target: `≤ ${most} ms`,
            reached: `${reached.toFixed(1)} ms`,
            pass: reached <= most,
          },
        ];
      }),
      checks: [],
      notes: [...notes, ...treadle.complaints.map((line) => `Treadle warned: ${line}`)],
      measurements: Object.fromEntries(starts),
    };
  },
};

async function firstResponse(treadle: TreadleServer, { language, path }: DeployedProgram): Promise<number> {
  // So that the call does not pay for a connection.
  await treadle.client.send("GET", "/health");
  const { text, ms } = await treadle.client.send("GET", path);
  checkLanguage(language, text);
  return ms;
}

async function firstResponseByHand({ language, entrypoint, code, dependencies }: DeployedProgram): Promise<number> {
  await using server = await RuntimeServer.start(language, entrypoint, code, dependencies);
  using client = new Client(server.url);
  const { text } = await client.send("GET", "/");
  const ms = performance.now() - server.spawnedAt;
  checkLanguage(language, text);
  return ms;
}

function checkLanguage(language: string, text: string): void {
  if ((JSON.parse(text) as { language: string }).language !== language) throw new Error(`a wrong answer: ${text}`);
}
