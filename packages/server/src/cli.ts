import { isTreadleError } from "@treadle/errors";
import { Command } from "commander";
import { serveCommand } from "./commands/serve.ts";

const program = new Command("treadle")
  .description("Runs functions that other people wrote, each in its own sandbox.")
  .addCommand(serveCommand());

try {
  await program.parseAsync();
} catch (error) {
  if (!isTreadleError(error)) throw error;
  const { help } = error.toJSON().error;
  process.stderr.write(`treadle: ${error.code}: ${error.message}\n  ${help}\n`);
  process.exitCode = 1;
}
