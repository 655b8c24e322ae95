import { setTimeout as sleep } from "node:timers/promises";
import { TreadleError } from "@treadle/errors";
import { Command } from "commander";
import { type ExecutionView, executionText } from "./execution-text.ts";
import { printLive } from "./live-lines.ts";
import { ServerClient, type ServerOptions, withServerOptions } from "./server-client.ts";

const POLL_MS = 1_000;
/** Executions are recorded when they end but listed by when they began: how long one may take and still be followed. */
const FOLLOWED_MS = 120_000;
const PAGE = 1_000;

interface LogsOptions extends ServerOptions {
  readonly state?: string;
  readonly since?: string;
  readonly text?: string;
  readonly lines: string;
  readonly follow?: true;
  readonly json?: true;
}

interface Page {
  readonly executions: readonly ExecutionView[];
  readonly next: string | null;
}

/** `treadle logs`: executions with what they logged, newest last. */
export function logsCommand(): Command {
  const command = new Command("logs")
    .description("Show executions with their log lines, newest last.")
    .argument("[workspace]")
    .argument("[function]")
    .option("--state <state>", "only those succeeded, failed, timed_out or cancelled")
    .option("--since <when>", "only those begun since: 90s, 10m, 2h, 7d ago, or a date such as 2026-01-31T12:00Z")
    .option("--text <text>", "only those with this text in input, output, error or log")
    .option("-n, --lines <count>", "at most this many executions", "50")
    .option("-f, --follow", "go on with new ones until interrupted; of a workspace: with lines as they are written")
    .option("--json", "print one JSON object per line and execution");
  return withServerOptions(command).action(
    async (workspace: string | undefined, name: string | undefined, options: LogsOptions) => {
      const count = Number(options.lines);
      if (!/^\d+$/.test(options.lines) || !Number.isSafeInteger(count))
        throw new TreadleError("BAD_REQUEST", `-n ${options.lines}: give a whole number.`);
      const client = new ServerClient(options);
      const filter = {
        workspace,
        function: name,
        state: options.state,
        text: options.text,
        since: options.since === undefined ? undefined : String(momentOf(options.since, Date.now())),
      };
      const print = (execution: ExecutionView) =>
        process.stdout.write(options.json ? `${JSON.stringify(execution)}\n` : executionText(execution));
      if (options.follow && workspace !== undefined && !options.json && options.state === undefined) {
        await printLive(client, { workspace, function: name, text: options.text }, async () => {
          const latest = await newest(client, filter, count);
          for (const execution of latest.toReversed()) print(execution);
          return new Set(latest.map(({ id }) => id));
        });
      }
      const began = Date.now();
      const latest = await newest(client, filter, count);
      for (const execution of latest.toReversed()) print(execution);
      if (options.follow) await follow(client, filter, latest, began, print);
    },
  );
}

type Filter = Readonly<Record<string, string | undefined>>;

/** The newest `count` executions, newest first. */
async function newest(client: ServerClient, filter: Filter, count: number): Promise<ExecutionView[]> {
  const found: ExecutionView[] = [];
  let after: string | undefined;
  while (found.length < count) {
    const query = Object.entries({ ...filter, after, limit: String(Math.min(PAGE, count - found.length)) });
    const given = query.filter((entry): entry is [string, string] => entry[1] !== undefined);
    const page = await client.request<Page>("GET", `/api/v1/executions?${new URLSearchParams(given)}`);
    found.push(...page.executions);
    if (page.next === null) break;
    after = page.next;
  }
  return found;
}

/** Prints what is new, for ever: an interrupt ends the process. */
async function follow(
  client: ServerClient,
  filter: Filter,
  printed: readonly ExecutionView[],
  began: number,
  print: (execution: ExecutionView) => void,
): Promise<never> {
  // What ended before the first list was asked for is not news, even if -n left it out.
  const first = await newest(client, { ...filter, since: String(began - FOLLOWED_MS) }, PAGE);
  let seen = new Set(
    [...printed, ...first.filter(({ startedAt, durationMs }) => startedAt + durationMs < began)].map(({ id }) => id),
  );
  for (;;) {
    const since = String(Date.now() - FOLLOWED_MS);
    const window = await newest(client, { ...filter, since }, 10 * PAGE);
    for (const execution of window.toReversed()) if (!seen.has(execution.id)) print(execution);
    seen = new Set(window.map(({ id }) => id));
    await sleep(POLL_MS);
  }
}

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A moment in ms since 1970: a span back from now, or a date. @throws BAD_REQUEST */
function momentOf(text: string, now: number): number {
  const [, amount, unit = ""] = /^(\d+)([smhd])$/.exec(text) ?? [];
  const moment =
    amount === undefined ? (/^\d{4}-/.test(text) ? Date.parse(text) : Number.NaN) : now - Number(amount) * (UNITS[unit] ?? 0);
  if (Number.isFinite(moment)) return Math.max(0, Math.floor(moment));
  throw new TreadleError(
    "BAD_REQUEST",
    `--since ${text}: give a span such as 90s, 10m, 2h or 7d, or a date such as 2026-01-31T12:00Z.`,
  );
}
