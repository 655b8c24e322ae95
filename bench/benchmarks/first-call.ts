import { spawnSync } from "node:child_process";
import type { Benchmark } from "../benchmark.ts";
import { PYTHON } from "../measure/machine.ts";
import { fixed, median, quantile, spread } from "../measure/statistics.ts";
import { temporaryFolder } from "../servers/program.ts";
import { TreadleServer } from "../servers/treadle.ts";
import { CALL, checkHello, HELLO, LANGUAGES, type Language } from "./functions.ts";

const PREWARMED = 2;
const TITLES: Record<Language, string> = { node: "Node", python: "Python" };
/** The same interpreter with nothing to do. */
const NOTHING: Record<Language, readonly [string, string, string]> = {
  node: [process.execPath, "-e", "0"],
  python: [PYTHON, "-c", "0"],
};

export const firstCall: Benchmark = {
  name: "first-call",
  title: "First call",
  method: `Each workspace is saved in an earlier life of the server, since saving loads the code and keeps what was loaded. Then the server is
started anew and each workspace called twice, one workspace after the other: the first call finds no instance, the second a warm one. With
prewarming (the default, ${PREWARMED} processes a language) each call waits until those are ready again. Without it (\`--prewarmed 0\`) the first call starts a
sandbox and the interpreter in it; the same interpreter doing nothing (\`node -e 0\`, \`python3 -c 0\`, outside a sandbox) is started in between.`,

  async run({ quick, say }) {
    const count = quick ? 4 : 40;
    await using folder = await temporaryFolder();
    const complaints: string[] = [];

    say(`saving ${2 * count * LANGUAGES.length} workspaces`);
    {
      await using treadle = await TreadleServer.start(folder.path);
      for (let number = 0; number < 2 * count; number++) {
        for (const language of LANGUAGES) await treadle.save(`${language}-${number}`, { hello: HELLO[language] });
      }
      complaints.push(...treadle.complaints);
    }

    say("first calls with prewarmed processes");
    const prewarmed = { node: { first: [], second: [] }, python: { first: [], second: [] } } as Record<Language, Calls>;
    {
      await using treadle = await TreadleServer.start(folder.path);
      for (let number = 0; number < count; number++) {
        for (const language of LANGUAGES) {
          await treadle.prewarmed(PREWARMED * LANGUAGES.length);
          await pause(100);
          await callTwice(treadle, `${language}-${number}`, prewarmed[language]);
        }
      }
      complaints.push(...treadle.complaints);
    }

    say("first calls without");
    const cold = { node: { first: [], second: [] }, python: { first: [], second: [] } } as Record<Language, Calls>;
    const nothing: Record<Language, number[]> = { node: [], python: [] };
    {
      await using treadle = await TreadleServer.start(folder.path, ["--prewarmed", "0"]);
      for (let number = count; number < 2 * count; number++) {
        for (const language of LANGUAGES) {
          await pause(50);
          nothing[language].push(wallTime(NOTHING[language]));
          await pause(50);
          await callTwice(treadle, `${language}-${number}`, cold[language]);
        }
      }
      complaints.push(...treadle.complaints);
    }

    const ms = (values: readonly number[]) => spread(values, fixed(1));
    const p95 = (values: readonly number[]) => quantile(values, 0.95).toFixed(1);
    const above = (language: Language) => median(prewarmed[language].first) - median(prewarmed[language].second);
    const times = (language: Language) => median(cold[language].first) / median(nothing[language]);
    return {
      tables: [
        {
          title: `${count} workspaces of each language; ms, median (least–most)`,
          columns: ["", "first call", "p95 of it", "second call", "interpreter doing nothing"],
          rows: LANGUAGES.flatMap((language) => [
            [
              `${TITLES[language]}, prewarmed`,
              ms(prewarmed[language].first),
              p95(prewarmed[language].first),
              ms(prewarmed[language].second),
              "",
            ],
            [
              `${TITLES[language]}, not prewarmed`,
              ms(cold[language].first),
              p95(cold[language].first),
              ms(cold[language].second),
              ms(nothing[language]),
            ],
          ]),
        },
      ],
      bars: [
        ...LANGUAGES.map((language) => ({
          name: `${TITLES[language]}, prewarmed, p50 of the first call above a warm one's`,
          target: "≤ 25 ms",
          reached: `${above(language).toFixed(1)} ms`,
          pass: above(language) <= 25,
        })),
        ...LANGUAGES.map((language) => ({
          name: `${TITLES[language]}, not prewarmed, of \`${language === "node" ? "node -e 0" : "python3 -c 0"}\``,
          target: language === "node" ? "≤ 2×" : "≤ 2.5×",
          reached: `${times(language).toFixed(2)}×`,
          pass: times(language) <= (language === "node" ? 2 : 2.5),
        })),
      ],
      checks: [],
      notes: complaints.map((line) => `Treadle warned: ${line}`),
      measurements: { prewarmed, cold, nothing },
    };
  },
};

interface Calls {
  readonly first: number[];
  readonly second: number[];
}

async function callTwice(treadle: TreadleServer, workspace: string, calls: Calls): Promise<void> {
  // So that the first call does not pay for a connection which the second finds open.
  await treadle.client.send("GET", "/health");
  for (const each of [calls.first, calls.second]) {
    const { text, ms } = await treadle.client.send("POST", `/v2/functions/${workspace}/run/hello`, CALL);
    checkHello(text);
    each.push(ms);
  }
}

/** From start to end of a program, ms. */
function wallTime([program, ...args]: readonly [string, string, string]): number {
  const start = performance.now();
  const { status, error } = spawnSync(program, args, { stdio: "ignore" });
  if (status !== 0) throw new Error(`${program} ended with ${status}`, { cause: error });
  return performance.now() - start;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
