import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Bar, Benchmark } from "../benchmark.ts";
import { Client } from "../measure/client.ts";
import { CONNECTIONS, type Load, postFor } from "../measure/load.ts";
import { fixed, median, spread, whole } from "../measure/statistics.ts";
import { startBareNodeHttp } from "../servers/peers.ts";
import { temporaryFolder } from "../servers/program.ts";
import { RuntimeServer } from "../servers/runtime-server.ts";
import { TreadleServer } from "../servers/treadle.ts";
import { CALL, CALL_TEXT, checkHello } from "./functions.ts";
import { HELLO_HANDLERS } from "./handlers.ts";

const BARE = "bare node:http";
/** Bars against the bare server; all other languages are held to their own server called directly. */
const OF_BARE: Readonly<Record<string, number>> = { node: 0.4, python: 0.25 };
const OF_OWN = 0.5;

export const handlerCall: Benchmark = {
  name: "handler-call",
  title: "Warm handler call",
  method: `A handler function that parses a small JSON body, logs one line and answers JSON is called over \`/f/...\` on ${CONNECTIONS} connections. The bare server parses the
same body and builds the same answer in one process, without a log. "own server" is the language's runtime server called directly over TCP, without sandbox, records and Treadle; its log goes to a pipe.
All servers run at once and take turns; ratios are taken within a round. Treadle keeps the log and records every execution in its database, whose work counts against it.`,

  async run({ quick, say }) {
    const rounds = quick ? 2 : 7;
    const seconds = quick ? 1 : 4;
    await using folder = await temporaryFolder();
    await using stack = new AsyncDisposableStack();
    const treadle = stack.use(await TreadleServer.start(join(folder.path, "data")));
    const bare = stack.use(await startBareNodeHttp());
    const { available } = await treadle.client.get<{ available: { language: string }[] }>("/api/v1/runtimes");
    const languages = Object.keys(HELLO_HANDLERS).filter((language) => available.some((each) => each.language === language));
    const notes = Object.keys(HELLO_HANDLERS)
      .filter((language) => !languages.includes(language))
      .map((language) => `${language} was not measured: this machine does not have it.`);

    const urls: Record<string, string> = { [BARE]: `${bare.url}/` };
    for (const language of languages) {
      const { path, text } = HELLO_HANDLERS[language] as { path: string; text: string };
      const source = { language, contract: "handler", entrypoint: path, files: [{ path, text }] };
      await treadle.client.send("PUT", `/api/v1/workspaces/warm/functions/${language}`, source);
      urls[treadleName(language)] = `${treadle.url}/f/warm/${language}/`;
      const code = join(folder.path, language);
      await mkdir(code, { recursive: true });
      await writeFile(join(code, path), text);
      urls[ownName(language)] = `${stack.use(await RuntimeServer.start(language, path, code)).url}/`;
    }
    const names = Object.keys(urls);
    const all: Record<string, Load>[] = [];
    for (let round = -1; round < rounds; round++) {
      say(round < 0 ? "warming up" : `round ${round + 1} of ${rounds}`);
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
    const counts = await treadle.settled();
    const stored = await treadle.stored("warm");

    const values = (name: string, of: keyof Load) => all.map((loads) => (loads[name] as Load)[of]);
    const ratio = (above: string, below: string) =>
      all.map((loads) => (loads[above] as Load).perSecond / (loads[below] as Load).perSecond);
    const bars = languages.map((language): Bar => {
      const least = OF_BARE[language];
      const base = least === undefined ? ownName(language) : BARE;
      const reached = ratio(treadleName(language), base);
      return {
        name: `${language}, requests/s of ${least === undefined ? "its own server" : BARE}`,
        target: `≥ ${least ?? OF_OWN}×`,
        reached: spread(reached, (value) => `${value.toFixed(2)}×`),
        pass: median(reached) >= (least ?? OF_OWN),
      };
    });
    return {
      tables: [
        {
          title: `${rounds} rounds of ${seconds} s: median (least–most)`,
          columns: ["server", "requests/s", "of bare node:http", "p50 ms", "p99 ms"],
          rows: names.map((name) => [
            name,
            spread(values(name, "perSecond"), whole),
            spread(ratio(name, BARE), fixed(2)),
            spread(values(name, "p50"), fixed(2)),
            spread(values(name, "p99"), fixed(2)),
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
      measurements: { rounds: all, counts, stored },
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
