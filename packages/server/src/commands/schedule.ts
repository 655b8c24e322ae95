import { TreadleError } from "@treadle/errors";
import { Command } from "commander";
import { type CallOptions, callInputOf, withCallOptions } from "./call-options.ts";
import { path, ServerClient, type ServerOptions, withServerOptions } from "./server-client.ts";
import { terminalText } from "./terminal-text.ts";

interface ScheduleView {
  readonly function: string;
  readonly name: string;
  readonly cron: string;
  readonly timeZone: string;
  readonly catchUp: string;
  readonly paused: boolean;
  readonly nextTimes: readonly string[];
}

interface SetOptions extends ServerOptions, CallOptions {
  readonly zone?: string;
  readonly catchUp?: string;
  readonly retries?: string;
  readonly paused?: true;
  readonly json?: true;
}

/** `treadle schedule`: calls by the clock. */
export function scheduleCommand(): Command {
  const command = new Command("schedule").description("Call functions by the clock.");
  command.addCommand(setCommand());
  command.addCommand(listCommand());
  command.addCommand(removeCommand());
  return command;
}

function setCommand(): Command {
  const command = withCallOptions(
    new Command("set")
      .description("Set a schedule of a function; one of the same name is replaced.")
      .argument("<workspace>")
      .argument("<function>")
      .argument("<name>")
      .argument("<cron>", "five fields (minute hour day month weekday), six (seconds first), or @hourly, @daily, ...")
      .option("--zone <zone>", "time zone, such as Europe/Berlin [default UTC]")
      .option("--catch-up <rule>", "due times that pass while no server runs: skip (default), once or all")
      .option("--retries <count>", "how often a failed execution is tried again")
      .option("--paused", "make no executions for now")
      .option("--json", "print the schedule as JSON"),
  );
  return withServerOptions(command).action(
    async (workspace: string, functionName: string, name: string, cron: string, options: SetOptions) => {
      const client = new ServerClient(options);
      const of = path`/api/v1/workspaces/${workspace}/functions/${functionName}`;
      const { contract } = await client.request<{ contract: string }>("GET", of);
      const schedule = await client.request<ScheduleView>("PUT", `${of}${path`/schedules/${name}`}`, {
        cron,
        ...(options.zone === undefined ? {} : { timeZone: options.zone }),
        ...(options.catchUp === undefined ? {} : { catchUp: options.catchUp }),
        ...(options.retries === undefined ? {} : { retries: wholeNumber("--retries", options.retries) }),
        paused: options.paused === true,
        ...callInputOf(contract, options),
      });
      process.stdout.write(options.json ? `${JSON.stringify(schedule, null, 2)}\n` : scheduleText(schedule));
    },
  );
}

function listCommand(): Command {
  const command = new Command("ls")
    .description("List the schedules of a workspace or of one function.")
    .argument("<workspace>")
    .argument("[function]")
    .option("--json", "print them as JSON");
  return withServerOptions(command).action(
    async (workspace: string, functionName: string | undefined, options: ServerOptions & { json?: true }) => {
      const of =
        functionName === undefined
          ? path`/api/v1/workspaces/${workspace}`
          : path`/api/v1/workspaces/${workspace}/functions/${functionName}`;
      const { schedules } = await new ServerClient(options).request<{ schedules: ScheduleView[] }>("GET", `${of}/schedules`);
      process.stdout.write(options.json ? `${JSON.stringify(schedules, null, 2)}\n` : schedules.map(scheduleText).join(""));
    },
  );
}

function removeCommand(): Command {
  const command = new Command("rm")
    .description("Remove a schedule.")
    .argument("<workspace>")
    .argument("<function>")
    .argument("<name>");
  return withServerOptions(command).action(
    async (workspace: string, functionName: string, name: string, options: ServerOptions) => {
      await new ServerClient(options).request(
        "DELETE",
        path`/api/v1/workspaces/${workspace}/functions/${functionName}/schedules/${name}`,
      );
    },
  );
}

function scheduleText({ function: of, name, cron, timeZone, paused, nextTimes }: ScheduleView): string {
  const next = paused ? "paused" : `next ${nextTimes[0] ?? "never"}`;
  return terminalText(`${of}/${name}  ${cron}  ${timeZone}  ${next}\n`);
}

/** @throws BAD_REQUEST */
export function wholeNumber(flag: string, text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new TreadleError("BAD_REQUEST", `${flag} ${text}: give a whole number.`);
}
