// node bench/run.ts [NAME...] [--quick]: see README.md here.
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import type { Benchmark } from "./benchmark.ts";
import { asyncExecutions } from "./benchmarks/async-executions.ts";
import { coldStart } from "./benchmarks/cold-start.ts";
import { filesBesideCalls } from "./benchmarks/files-beside-calls.ts";
import { filesHttp } from "./benchmarks/files-http.ts";
import { filesLocal } from "./benchmarks/files-local.ts";
import { firstCall } from "./benchmarks/first-call.ts";
import { handlerCall } from "./benchmarks/handler-call.ts";
import { logs } from "./benchmarks/logs.ts";
import { manyWorkspaces } from "./benchmarks/many-workspaces.ts";
import { record } from "./benchmarks/record.ts";
import { responseStream } from "./benchmarks/response-stream.ts";
import { startUp } from "./benchmarks/start-up.ts";
import { warmCall } from "./benchmarks/warm-call.ts";
import { load, machine } from "./measure/machine.ts";
import { page } from "./report/page.ts";
import type { Result } from "./report/result.ts";
import { terminalText } from "./report/terminal.ts";
import { stopEverything } from "./servers/program.ts";
import { ROOT } from "./servers/treadle.ts";

/** In the order of the page. */
const BENCHMARKS: readonly Benchmark[] = [
  warmCall,
  handlerCall,
  responseStream,
  firstCall,
  coldStart,
  manyWorkspaces,
  logs,
  startUp,
  record,
  asyncExecutions,
  filesLocal,
  filesHttp,
  filesBesideCalls,
];

const { values, positionals } = parseArgs({ allowPositionals: true, options: { quick: { type: "boolean", default: false } } });
const quick = values.quick;
const unknown = positionals.filter((name) => BENCHMARKS.every((each) => each.name !== name));
if (unknown.length > 0) {
  console.error(`bench: no ${unknown.join(", ")}; there are: ${BENCHMARKS.map(({ name }) => name).join(", ")}`);
  process.exit(2);
}
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void stopEverything().finally(() => process.exit(130)));
}

const results = join(import.meta.dirname, "results", quick ? "quick" : "");
const pagePath = quick ? join(results, "benchmarks.md") : join(ROOT, "docs", "benchmarks.md");
for (const folder of [results, dirname(pagePath)]) await mkdir(folder, { recursive: true });
for (const benchmark of BENCHMARKS) {
  if (positionals.length > 0 && !positionals.includes(benchmark.name)) continue;
  const result = await measured(benchmark);
  await writeFile(join(results, `${benchmark.name}.json`), `${JSON.stringify(result, null, 1)}\n`);
  console.log(terminalText(result));
  if (result.checks.some(({ pass }) => !pass)) process.exitCode = 1;
  await writePage();
}
console.log(`\nwritten to ${pagePath}${quick ? " (quick: figures that mean nothing)" : ""}`);

async function measured(benchmark: Benchmark): Promise<Result> {
  const { name, title, method } = benchmark;
  const loadBefore = load();
  const date = new Date();
  const outcome = await benchmark.run({ quick, say: (message) => console.error(`${name}: ${message}`) });
  const minutes = (Date.now() - date.getTime()) / 60_000;
  const command = ["node bench/run.ts", ...positionals, ...(quick ? ["--quick"] : [])].join(" ");
  return {
    name,
    title,
    method,
    command,
    date: date.toISOString(),
    minutes,
    loadBefore,
    loadAfter: load(),
    machine: machine(ROOT),
    ...outcome,
  };
}

/** Writes the page from the newest result of each benchmark, those of earlier runs included. */
async function writePage(): Promise<void> {
  const known: Result[] = [];
  for (const { name } of BENCHMARKS) {
    const path = join(results, `${name}.json`);
    if (existsSync(path)) known.push(JSON.parse(await readFile(path, "utf8")) as Result);
  }
  await writeFile(pagePath, page(known));
}
