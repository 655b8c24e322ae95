import { Command } from "commander";
import { readSettings, SETTINGS } from "../settings/settings.ts";

/** `treadle serve`: one flag per setting. */
export function serveCommand(): Command {
  const command = new Command("serve").description("Start the server and stay up until SIGINT or SIGTERM.");
  for (const each of Object.values(SETTINGS)) {
    command.option(
      `--${each.flag} <value>`,
      `${each.description} [${each.environment}${each.default === "" ? "" : `; default ${each.default}`}]`,
    );
  }
  return command.action(async (options: Record<string, string>) => {
    const flags: Record<string, string | undefined> = {};
    for (const each of Object.values(SETTINGS)) flags[each.flag] = options[camelCase(each.flag)];
    // Loaded only here: the other commands start three times as fast without the server.
    const { serve } = await import("../serve.ts");
    const server = await serve(readSettings(process.env, flags));
    process.stdout.write(`listening on ${server.url}\n`);
    await untilAskedToStop();
    await server.close();
  });
}

function camelCase(flag: string): string {
  return flag.replaceAll(/-(.)/g, (_all, letter: string) => letter.toUpperCase());
}

/** Resolves at the first SIGINT or SIGTERM; a second one ends the process at once. */
function untilAskedToStop(): Promise<void> {
  return new Promise((resolve) => {
    let asked = false;
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.on(signal, () => {
        if (asked) process.exit(130);
        asked = true;
        resolve();
      });
    }
  });
}
