import { setTimeout as sleep } from "node:timers/promises";
import { executionErrorText, logLineText } from "./execution-text.ts";
import { path, type ServerClient } from "./server-client.ts";
import { terminalText } from "./terminal-text.ts";

const AGAIN_MS = 1_000;

interface LiveEvent {
  readonly execution: string;
  readonly function: string;
  readonly level?: string;
  readonly time?: number;
  readonly message?: string;
  readonly state?: string;
  readonly error?: Parameters<typeof executionErrorText>[0] | null;
}

/** What is to be followed. */
export interface Followed {
  readonly workspace: string;
  readonly function: string | undefined;
  readonly text: string | undefined;
}

/**
 * Prints a workspace's log lines as they are written, for ever: an interrupt ends the process. A stream that breaks is taken up where it was. `before` runs when
 * the first stream is open, and gives the executions whose lines it has printed.
 */
export async function printLive(
  client: ServerClient,
  followed: Followed,
  before: () => Promise<ReadonlySet<string>>,
): Promise<never> {
  const filter = Object.entries({ function: followed.function, text: followed.text });
  const given = filter.filter((entry): entry is [string, string] => entry[1] !== undefined);
  const route = `${path`/api/v1/workspaces/${followed.workspace}/log`}?${new URLSearchParams(given)}`;
  let last: string | undefined;
  let printed: ReadonlySet<string> | null = null;
  for (;;) {
    const headers: Record<string, string> = last === undefined ? {} : { "last-event-id": last };
    // The first refusal is the caller's to see; later ones pass with the server's restart.
    const response = await client.open("GET", route, { headers }).catch(async (error: unknown) => {
      if (printed === null) throw error;
      return null;
    });
    if (response !== null) {
      printed ??= await before();
      let text = "";
      try {
        for await (const chunk of response.setEncoding("utf8") as AsyncIterable<string>) {
          const blocks = (text + chunk).split("\n\n");
          text = blocks.pop() ?? "";
          for (const block of blocks) {
            last = /^id: (.*)$/m.exec(block)?.[1] ?? last;
            const data = /^data: (.*)$/m.exec(block)?.[1];
            if (data === undefined) continue;
            const event = JSON.parse(data) as LiveEvent;
            if (!printed.has(event.execution)) process.stdout.write(lineOf(followed.workspace, event));
          }
        }
      } catch {
        // It broke off.
      }
    }
    await sleep(AGAIN_MS);
  }
}

function lineOf(workspace: string, { function: name, level, time, message, state, error }: LiveEvent): string {
  const where = `${workspace}/${name}`;
  if (message !== undefined && level !== undefined)
    return `${terminalText(`${new Date(time ?? 0).toISOString()}  ${where}`)}${logLineText({ level, time: time ?? 0, message })}`;
  if (state === undefined || state === "succeeded") return "";
  return `${terminalText(`${new Date().toISOString()}  ${where}  ${state}`)}  ${error == null ? "\n" : executionErrorText(error)}`;
}
