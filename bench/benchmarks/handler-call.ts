import { join } from "node:path";
import type { Bar, Benchmark } from "../benchmark.ts";
import { Client } from "../measure/client.ts";
import { CONNECTIONS, type Load, postFor } from "../measure/load.ts";
import { fixed, median, spread, whole } from "../measure/statistics.ts";
import { type DeployedProgram, deployHandler, languagesHere, WORKSPACE } from "../servers/deployed.ts";
import { startBareNodeHttp } from "../servers/peers.ts";
import { temporaryFolder } from "../servers/program.ts";
import { RuntimeServer } from "../servers/runtime-server.ts";
import { TreadleServer } from "../servers/treadle.ts";
import { CALL, CALL_TEXT, checkHello } from "./functions.ts";
import { HELLO_HANDLERS } from "./handlers.ts";

const BARE = "bare node:http";
/** Least shares: of the bare server, or of the language's own server called directly. Compiled languages have none. */
const OF_BARE: Readonly<Record<string, number>> = { node: 0.4, python: 0.25 };
const OF_OWN: Readonly<Record<string, number>> = { deno: 0.5, bun: 0.5, php: 0.5, ruby: 0.5 };

/** Languages whose servers run at once: more would want memory that a small machine has not. */
const GROUP = 4;

/** One server: what it did, and the others beside it, in each round. */
interface Row {
  readonly name: string;
  /** The server it is also compared with, by name. */
  readonly own: string | null;
  readonly rounds: readonly Record<string, Load>[];
}

export const handlerCall: Benchmark = {
  name: "handler-call",
  title: "Warm handler call",
  method: `A deployed handler function that parses a small JSON body, logs one line and answers JSON is called over \`/f/...\` on ${CONNECTIONS} connections. The bare server parses the
same body and builds the same answer in one process, without a log. "own server" is the language's runtime server on the same artifact called directly over TCP, without sandbox, records and Treadle; its log goes to a pipe.
The languages are measured in groups of ${GROUP}, whose servers run at once and take turns with the bare one; ratios are taken within a round. Treadle keeps the log and records every execution in its database, whose work counts against it.`,

  async run({ quick, say }) {
    const rounds = quick ? 2 : 7;
    const seconds = quick ? 1 : 4;
    await using folder = await temporaryFolder();
    const data = join(folder.path, "data");
    await using treadle = await TreadleServer.start(data);
    await using bare = await startBareNodeHttp();
    const { available, notes } = await languagesHere();
    const programs: DeployedProgram[] = [];
    for (const runtime of available) {
      const file = HELLO_HANDLERS[runtime.language];
      if (file === undefined) {
        notes.push(`${runtime.language} was not measured: this benchmark has no handler in it.`);
        continue;
      }
      say(`deploying ${runtime.language}`);
      programs.push(await deployHandler(treadle, data, runtime, "hello", file));
    }
    const rows: Row[] = [];
    for (let at = 0; at < programs.length; at += GROUP) {
      const group = programs.slice(at, at + GROUP);
      await using stack = new AsyncDisposableStack();
      const urls: Record<string, string> = { [BARE]: `${bare.url}/` };
      for (const { language, path, entrypoint, code, dependencies } of group) {
        urls[treadleName(language)] = `${treadle.url}${path}`;
        urls[ownName(language)] = `${stack.use(await RuntimeServer.start(language, entrypoint, code, dependencies)).url}/`;
      }
      const names = Object.keys(urls);
      const all: Record<string, Load>[] = [];
      for (let round = -1; round < rounds; round++) {
        const whose = group.map(({ language }) => language).join(", ");
        say(`${whose}: ${round < 0 ? "warming up" : `round ${round + 1} of ${rounds}`}`);
        const loads: Record<string, Load> = {};
        for (let turn = 0; turn < names.length; turn++) {
          const name = names[(turn + round + 1) % names.length] as string;
          const url = urls[name] as string;
          await checkAnswer(url);
          loads[name] = await postFor(seconds, url, CALL_TEXT);
          if (url.startsWith(treadle.url)) await treadle.settled();
        }
        if (round >= 0) all.push(loads);
      }
      if (at === 0) rows.push({ name: BARE, own: null, rounds: all });
      for (const { language } of group) {
        const own = ownName(language);
        rows.push({ name: treadleName(language), own, rounds: all }, { name: own, own: null, rounds: all });
      }
    }
    const counts = await treadle.settled();
    const stored = await treadle.stored(WORKSPACE);
    const values = ({ name, rounds }: Row, of: keyof Load) => rounds.map((loads) => (loads[name] as Load)[of]);
    const ratio = ({ name, rounds }: Row, below: string) =>
      rounds.map((loads) => (loads[name] as Load).perSecond / (loads[below] as Load).perSecond);
    const bars = programs.flatMap(({ language }): Bar[] => {
      const [least, base] = language in OF_BARE ? [OF_BARE[language], BARE] : ([OF_OWN[language], ownName(language)] as const);
      const row = rows.find(({ name }) => name === treadleName(language));
      if (least === undefined || row === undefined) return [];
      const reached = ratio(row, base);
      return [
        {
          name: `${language}, requests/s of ${base === BARE ? BARE : "its own server"}`,
          target: `≥ ${least}×`,
          reached: spread(reached, (value) => `${value.toFixed(2)}×`),
          pass: median(reached) >= least,
        },
      ];
    });
    return {
      tables: [
        {
          title: `${rounds} rounds of ${seconds} s: median (least–most)`,
          columns: ["server", "requests/s", "of bare node:http", "of its own server", "p50 ms", "p99 ms"],
          rows: rows.map((row) => [
            row.name,
            spread(values(row, "perSecond"), whole),
            spread(ratio(row, BARE), fixed(2)),
            row.own === null ? "" : spread(ratio(row, row.own), fixed(2)),
            spread(values(row, "p50"), fixed(2)),
            spread(values(row, "p99"), fixed(2)),
          ]),
        },
      ],
      bars,
      checks: [
        {
          name: "Every call was recorded and none dropped",
          pass: counts.dropped === 0 && stored === counts.ended,
          seen: `${whole(counts.ended)} executions, ${whole(stored)} read back, ${counts.dropped} dropped`,
        },
      ],
      notes: [...notes, ...treadle.complaints.map((line) => `Treadle warned: ${line}`)],
      measurements: { rows, counts, stored },
    };
  },
};

function treadleName(language: string): string {
  return `Treadle, ${language}`;
}

function ownName(language: string): string {
  return `${language}'s own server`;
}

async function checkAnswer(url: string): Promise<void> {
  const { origin, pathname } = new URL(url);
  using client = new Client(origin);
  checkHello((await client.send("POST", pathname, CALL)).text);
}
