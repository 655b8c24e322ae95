import type { Benchmark } from "../benchmark.ts";
import { memoryOf, type ProcessFacts } from "../measure/processes.ts";
import { fixed, median, megabytes, spread } from "../measure/statistics.ts";
import { temporaryFolder } from "../servers/program.ts";
import { TreadleServer, until } from "../servers/treadle.ts";
import { CALL, checkHello, HELLO, LANGUAGES, type Language } from "./functions.ts";

const SETTLE_MS = 3_000;
const PREWARMED = 4;

export const manyWorkspaces: Benchmark = {
  name: "many-workspaces",
  title: "Many workspaces, few instances",
  method: `Half of the workspaces are Node, half Python, all saved in an earlier life of the server. With as many instances alive as the cap allows, the
memory of the server, its database, the prewarmed processes and all instances is taken; then all workspaces are called round robin, so that almost every
call stops one instance and starts another; then, with as many instances alive, the memory is taken again. Memory is PSS: a page that n processes share
counts 1/n to each, so that the sum is what the machine gave. RSS counts it fully to each. The figure of the control group is what
the instance's memory limit is held against: without shared program text, with its scratch and kernel memory.`,

  async run({ quick, say }) {
    const workspaces = quick ? 24 : 300;
    const cap = quick ? 8 : 50;
    const rounds = quick ? 2 : 4;
    const names = Array.from({ length: workspaces }, (_, number) => `${LANGUAGES[number % 2]}-${number}`);
    await using folder = await temporaryFolder();

    say(`saving ${workspaces} workspaces`);
    {
      await using treadle = await TreadleServer.start(folder.path, ["--max-instances", String(cap)]);
      for (const name of names) await treadle.save(name, { hello: HELLO[languageOf(name)] });
    }

    await using treadle = await TreadleServer.start(folder.path, ["--max-instances", String(cap)]);
    const alone: Record<Language, number[]> = { node: [], python: [] };
    const crowded: Record<Language, number[]> = { node: [], python: [] };
    let errors = 0;
    let firstError = "";
    const call = async (name: string, latencies: Record<Language, number[]>) => {
      try {
        const { text, ms } = await treadle.client.send("POST", `/v2/functions/${name}/run/hello`, CALL);
        checkHello(text);
        latencies[languageOf(name)].push(ms);
      } catch (error) {
        errors += 1;
        firstError ||= String(error);
      }
    };

    say(`filling ${cap} instances`);
    for (const name of names.slice(0, cap)) await call(name, { node: [], python: [] });
    const before = await measure(treadle, cap);
    const serverAfterRound: number[] = [];
    for (let round = 0; round < rounds; round++) {
      // The last round is called ten at a time, when starts compete with each other.
      const atOnce = round === rounds - 1 ? 10 : 1;
      say(`round ${round + 1} of ${rounds}, ${atOnce} at a time`);
      const latencies = atOnce === 1 ? alone : crowded;
      for (let at = 0; at < names.length; at += atOnce) {
        await Promise.all(names.slice(at, at + atOnce).map((name) => call(name, latencies)));
      }
      serverAfterRound.push(memoryOf((await treadle.processes()).server).pss);
    }
    const after = await measure(treadle, cap);
    const counts = await treadle.settled();

    const growth = after.total / before.total - 1;
    const idle = (language: Language, of: "pss" | "rss") => median(before.instances[language].map((memory) => memory[of]));
    // By the harsher measure: on a machine with a single instance nothing would be shared.
    const idleBar = (language: Language, title: string, limit: number) => ({
      name: `Idle ${title} instance, RSS`,
      target: `≤ ${limit / 1e6} MB`,
      reached: `${megabytes(idle(language, "rss"))} (PSS ${megabytes(idle(language, "pss"))})`,
      pass: idle(language, "rss") <= limit,
    });
    return {
      tables: [
        {
          title: `${workspaces} workspaces, at most ${cap} instances, ${rounds} rounds`,
          columns: ["PSS", "before", "after"],
          rows: (["server", "database", "others", "allInstances", "total"] as const).map((part) => [
            PARTS[part],
            megabytes(before[part]),
            megabytes(after[part]),
          ]),
        },
        {
          title: "One idle instance, supervising processes included; median (least–most), MB",
          columns: ["", "PSS", "RSS", "control group"],
          rows: LANGUAGES.map((language) => {
            const show = (of: (memory: InstanceMemory) => number) =>
              spread(before.instances[language].map(of), (bytes) => (bytes / 1e6).toFixed(1));
            return [language, show(({ pss }) => pss), show(({ rss }) => rss), show(({ controlGroup }) => controlGroup)];
          }),
        },
        {
          title: "Calls, most of them to a workspace without an instance; ms, median (least–most)",
          columns: ["", "one at a time", "ten at a time"],
          rows: LANGUAGES.map((language) => [language, spread(alone[language], fixed(1)), spread(crowded[language], fixed(1))]),
        },
      ],
      bars: [
        {
          name: "Errors",
          target: "none",
          reached: errors === 0 ? "none" : `${errors}, the first: ${firstError}`,
          pass: errors === 0,
        },
        {
          name: "Memory after the rounds against before",
          target: "within 20 %",
          reached: `${growth >= 0 ? "+" : ""}${(growth * 100).toFixed(1)} %`,
          pass: growth <= 0.2,
        },
        idleBar("node", "Node", 60e6),
        idleBar("python", "Python", 30e6),
      ],
      checks: [
        {
          name: "Every call was answered and recorded",
          pass: errors === 0 && counts.dropped === 0 && counts.ended === cap + rounds * workspaces,
          seen: `${errors} errors, ${counts.ended} executions of ${cap + rounds * workspaces} calls, ${counts.dropped} dropped`,
        },
      ],
      notes: [
        `The server's own memory after each round: ${serverAfterRound.map(megabytes).join(", ")}.`,
        ...treadle.complaints.map((line) => `Treadle warned: ${line}`),
      ],
      measurements: { before, after, alone, crowded, serverAfterRound, counts, errors, firstError },
    };
  },
};

const PARTS = {
  server: "server",
  database: "database",
  others: "prewarmed processes, launchers",
  allInstances: "instances",
  total: "all",
} as const;

interface InstanceMemory {
  readonly pss: number;
  readonly rss: number;
  /** As the API tells. */
  readonly controlGroup: number;
}

interface Measured {
  /** PSS, bytes. */
  readonly server: number;
  readonly database: number;
  readonly others: number;
  readonly allInstances: number;
  readonly total: number;
  readonly instances: Record<Language, InstanceMemory[]>;
}

/** Memory when nothing is under way: all instances of the cap alive, prewarmed processes ready, records written. */
async function measure(treadle: TreadleServer, cap: number): Promise<Measured> {
  await treadle.settled();
  await treadle.prewarmed(PREWARMED);
  await until(async () => ((await treadle.instances()).instances.length === cap ? true : null), `${cap} instances are alive`);
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const { instances } = await treadle.instances();
  const processes = await treadle.processes();
  const pss = (some: readonly ProcessFacts[]) => memoryOf(some).pss;
  const byLanguage: Record<Language, InstanceMemory[]> = { node: [], python: [] };
  for (const { id, workspace, memoryBytes } of instances) {
    const own = processes.instances.get(id) ?? [];
    if (own.length === 0)
      throw new Error(`no process of the instance ${id} was found: without control groups its memory cannot be told`);
    byLanguage[languageOf(workspace)].push({ ...memoryOf(own), controlGroup: memoryBytes });
  }
  const parts = {
    server: pss(processes.server),
    database: pss(processes.database),
    others: pss(processes.others),
    allInstances: pss([...processes.instances.values()].flat()),
  };
  const total = parts.server + parts.database + parts.others + parts.allInstances;
  return { ...parts, total, instances: byLanguage };
}

function languageOf(workspace: string): Language {
  return workspace.startsWith("node") ? "node" : "python";
}
