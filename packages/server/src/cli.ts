import { readFileSync } from "node:fs";
import { isTreadleError } from "@treadle/errors";
import { Command } from "commander";
import { activateCommand } from "./commands/activate.ts";
import { aliasCommand } from "./commands/alias.ts";
import { addCompletion } from "./commands/completion.ts";
import { deployCommand } from "./commands/deploy.ts";
import { deploymentsCommand } from "./commands/deployments.ts";
import { devCommand } from "./commands/dev.ts";
import { diffCommand } from "./commands/diff.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { executionsCommand } from "./commands/executions.ts";
import { fileCommand } from "./commands/file.ts";
import { initCommand } from "./commands/init.ts";
import { logsCommand } from "./commands/logs.ts";
import { reportError } from "./commands/report-error.ts";
import { rollbackCommand } from "./commands/rollback.ts";
import { runCommand } from "./commands/run.ts";
import { scheduleCommand } from "./commands/schedule.ts";
import { secretCommand } from "./commands/secret.ts";
import { serveCommand } from "./commands/serve.ts";
import { testCommand } from "./commands/test.ts";
import { variableCommand } from "./commands/variable.ts";

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string };
let json = false;
const program = new Command("treadle")
  .description("Runs functions that other people wrote, each in its own sandbox.")
  .version(version, "-V, --version", "print the version")
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "treadle: ")) })
  .showHelpAfterError("  `treadle help COMMAND` tells what a command takes.")
  .hook("preAction", (_program, command) => {
    json = command.opts().json === true;
  });
for (const [heading, commands] of [
  ["Server:", [serveCommand(), doctorCommand()]],
  [
    "Functions:",
    [
      initCommand(),
      devCommand(),
      testCommand(),
      deployCommand(),
      runCommand(),
      logsCommand(),
      executionsCommand(),
      scheduleCommand(),
    ],
  ],
  ["Versions:", [deploymentsCommand(), activateCommand(), rollbackCommand(), aliasCommand(), diffCommand()]],
  ["Variables:", [variableCommand(), secretCommand()]],
  ["Files:", [fileCommand()]],
] as const) {
  for (const command of commands) {
    program.addCommand(command.copyInheritedSettings(program).helpGroup(heading));
    for (const each of command.commands) each.copyInheritedSettings(program);
  }
}
addCompletion(program);

// Whoever reads our output may stop doing so (`treadle logs -f | head`).
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});
try {
  await program.parseAsync();
} catch (error) {
  if (!isTreadleError(error)) throw error;
  reportError(error, json);
  process.exitCode = 1;
}
