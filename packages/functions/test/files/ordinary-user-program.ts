// Started by files.read-only.test.ts as an ordinary user. Arguments: a folder, the Python file with the attempts. Prints a ReadOnlyReport.
import { chmodSync, linkSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { createBubblewrapDriver } from "@treadle/sandbox";

export interface ReadOnlyReport {
  readonly inside: { attempts: number; worked: string[]; content: string; entries: string[]; uid: number };
  /** The file in storage afterwards. */
  readonly stored: { content: string; mode: number; mtimeMs: number; links: number };
  /** Whether we could have changed the file ourselves. */
  readonly writableByUs: boolean;
}

const PYTHON = "/usr/bin/python3";
const [folder = "", attempts = ""] = process.argv.slice(2);
const stored = join(folder, "stored");
const placed = join(folder, "placed");
mkdirSync(join(placed, "execution", "1"), { recursive: true });
writeFileSync(stored, "original", { mode: 0o444 });
linkSync(stored, join(placed, "execution", "1", "file"));

await using driver = await createBubblewrapDriver({ stateDirectory: join(folder, "sandbox"), warn: () => {} });
const program = `${readFileSync(attempts, "utf8")}
import json
print(json.dumps({**attempt("/files/execution/1/file"), "uid": os.getuid()}))`;
const sandbox = await driver.spawn({
  command: [PYTHON, "-S", "-c", program],
  environment: { PYTHONHOME: "/usr" },
  workingDirectory: "/tmp",
  root: { executables: [{ source: PYTHON, target: PYTHON }], system: ["/usr/lib/python3.11", "/usr/lib/python3"] },
  mounts: [{ source: placed, target: "/files", access: "read-only" }],
  limits: { memoryBytes: 256 << 20, processes: 20, cpus: null, scratchBytes: 16 << 20, openFiles: 256 },
  egress: null,
});
const [output, errors] = await Promise.all([text(sandbox.stdout), text(sandbox.stderr), sandbox.exited]);
if (!output.startsWith("{")) throw new Error(output + errors);
const { mode, mtimeMs, nlink } = statSync(stored);
const content = readFileSync(stored, "utf8");
let writableByUs = false;
if (process.geteuid?.() !== 0) {
  // With the same rights, outside: what the mount keeps from happening.
  chmodSync(join(placed, "execution", "1", "file"), 0o666);
  writableByUs = (statSync(stored).mode & 0o777) === 0o666;
}
const report: ReadOnlyReport = {
  inside: JSON.parse(output),
  stored: { content, mode: mode & 0o777, mtimeMs, links: nlink },
  writableByUs,
};
process.stdout.write(`${JSON.stringify(report)}\n`);
