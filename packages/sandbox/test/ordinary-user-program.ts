// Started by ordinary-user.test.ts as another user. Argument: a state directory. Prints a UserReport.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createBubblewrapDriver, type Finding } from "../src/index.ts";
import { type AttemptReport, runAttempts } from "./attempts.ts";
import { processesWith, until } from "./host-processes.ts";
import { type ConnectionReport, connectionAttempts, echoes } from "./inner-socket-attempts.ts";
import { MEBIBYTE, outcome, PYTHON, python, start } from "./programs.ts";

export interface UserReport {
  readonly python: AttemptReport;
  readonly node: AttemptReport;
  readonly findings: readonly Finding[];
  readonly warnings: readonly string[];
  readonly forkBomb: string;
  readonly memoryBombs: Readonly<Record<string, string>>;
  readonly scratch: string;
  readonly givenBack: string;
  readonly killed: string;
  readonly memoryBytes: number;
  readonly leftRunDirectories: readonly string[];
  readonly marker: string;
  /** Processes of sandboxes before and some time after kill -9 of the host that had them. */
  readonly killedHost: readonly [number, number];
  readonly echo: string;
  readonly connections: ConnectionReport;
}

const FORK_BOMB = `import os, time
n = 0
try:
  while True:
    if os.fork() == 0: time.sleep(60)
    n += 1
except OSError as error: print(error.errno, n, flush=True)
os._exit(0)`;

const MEMORY_BOMBS = {
  heap: "a = []\nwhile True: a.append(bytearray(1 << 20))",
  tmpfs: "f = open('/tmp/fill', 'wb')\nimport time\nwhile True: f.write(b'x' * (1 << 20)); f.flush(); time.sleep(0.001)",
  inodes: "import os\ni = 0\nwhile True:\n  os.close(os.open(f'/tmp/{i}', os.O_CREAT)); i += 1",
  forked:
    "import os, time\nfor _ in range(8):\n  if os.fork() == 0:\n    a = bytearray(20 << 20)\n    for i in range(0, len(a), 4096): a[i] = 1\n    time.sleep(60)\ntime.sleep(60)",
};

const stateDirectory = process.argv[2] as string;
const warnings: string[] = [];
const driver = await createBubblewrapDriver({ stateDirectory, warn: (message) => warnings.push(message) });
const marker = `user-${process.pid}-${Math.random()}`;

const memoryBombs: Record<string, string> = {};
for (const [name, code] of Object.entries(MEMORY_BOMBS)) {
  const limits = { memoryBytes: 96 * MEBIBYTE, scratchBytes: 512 * MEBIBYTE };
  memoryBombs[name] = (await python(driver, code, { limits })).cause;
}

const given = await mkdtemp(join(tmpdir(), "treadle-given-"));
await python(driver, "open('/out/file', 'w').write('made')", {
  mounts: [{ source: given, target: "/out", access: "read-write" }],
});
const givenBack = await readFile(join(given, "file"), "utf8").catch(String);
await rm(given, { recursive: true });

const daemon = `import os, time
if os.fork() == 0: os.setsid()
a = b"x" * (20 << 20)
print("up", flush=True)
time.sleep(600) # ${marker}`;
const sandbox = await start(driver, [PYTHON, "-c", daemon]);
const ended = outcome(sandbox);
await sleep(600);
const memoryBytes = sandbox.memoryBytes();
const killed = (await sandbox.kill()).cause;
await ended;

async function killHost(): Promise<[number, number]> {
  const orphans = `orphans-${marker}`;
  const host = spawn(process.execPath, [join(import.meta.dirname, "host-process.ts"), `${stateDirectory}-killed`, orphans], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(host.stdout, "data");
  const before = processesWith(orphans).length;
  host.kill("SIGKILL");
  await until(() => processesWith(orphans).length === 0, 5000).catch(() => {});
  return [before, processesWith(orphans).length];
}

const report: UserReport = {
  python: await runAttempts(driver, "python"),
  node: await runAttempts(driver, "node"),
  findings: await driver.examine(),
  warnings,
  forkBomb: (await python(driver, FORK_BOMB, { limits: { processes: 50 } })).stdout,
  memoryBombs,
  scratch: (
    await python(driver, "try: open('/tmp/fill', 'wb').write(bytes(64 << 20))\nexcept OSError as error: print(error.errno)")
  ).stdout,
  givenBack,
  killed,
  memoryBytes,
  leftRunDirectories: await readdir(join(stateDirectory, "run")).catch(() => []),
  marker,
  killedHost: await killHost(),
  echo: await echoes(driver),
  connections: await connectionAttempts(driver),
};
await driver[Symbol.asyncDispose]();
process.stdout.write(`${JSON.stringify(report)}\n`);
