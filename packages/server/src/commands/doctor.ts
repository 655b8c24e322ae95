import type { Finding } from "@treadle/sandbox";
import { Command } from "commander";
import { readSettings } from "../settings/settings.ts";

/** `treadle doctor`: what this machine allows and lacks. Status 1 when something indispensable is missing. */
export function doctorCommand(): Command {
  return new Command("doctor")
    .description("Tell what this machine allows, what is missing, and the command that mends it.")
    .option("--data-dir <dir>", "the server's data directory [FUNCTIONS_STORAGE_FILESYSTEM_DIRPATH]")
    .option("--json", "print the findings as JSON")
    .action(async (options: { dataDir?: string; json?: true }) => {
      const { examine } = await import("./doctor/examine.ts");
      const findings = await examine(readSettings(process.env, { "data-dir": options.dataDir }));
      const broken = findings.some(({ status }) => status === "missing");
      if (options.json) process.stdout.write(`${JSON.stringify({ ok: !broken, findings }, null, 2)}\n`);
      else for (const finding of findings) process.stdout.write(lineOf(finding));
      if (broken) process.exitCode = 1;
    });
}

function lineOf({ name, status, message, remedy }: Finding): string {
  const line = `${status.padEnd(8)}  ${name}: ${message.replace(/\s*\n\s*/g, " ")}\n`;
  return remedy === undefined || status === "ok"
    ? line
    : `${line}          ${status === "absent" ? "to have it" : "mend it"}: ${remedy}\n`;
}
