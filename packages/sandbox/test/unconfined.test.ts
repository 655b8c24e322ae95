import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createSandboxDriver, type SandboxDriver } from "../src/index.ts";
import { processesWith } from "./host-processes.ts";
import { outcome, PYTHON, start } from "./programs.ts";

let stateDirectory: string;
let driver: SandboxDriver;
const warnings: string[] = [];
beforeEach(async () => {
  stateDirectory = await mkdtemp(join(tmpdir(), "treadle-none-"));
  driver = await createSandboxDriver("none", { stateDirectory, warn: (message) => warnings.push(message) });
});
afterEach(async () => {
  await driver[Symbol.asyncDispose]();
  await rm(stateDirectory, { recursive: true, force: true });
});

test("it warns loudly, and calls itself missing when examined", async () => {
  expect(warnings.at(-1)).toContain("THE SANDBOX IS OFF");
  expect((await driver.examine())[0]?.status).toBe("missing");
});

test("it has the same channel, environment and end, with paths translated", async () => {
  await writeFile(
    join(stateDirectory, "code.py"),
    "import os, sys, json\nprint(json.dumps([dict(os.environ), os.getcwd(), sys.argv]))\nos.write(3, os.read(3, 9))\nsys.exit(5)",
  );
  const mounts = [{ source: join(stateDirectory, "code.py"), target: "/code/main.py", access: "read-only" as const }];
  const sandbox = await start(driver, [PYTHON, "/code/main.py", "--run=/run/treadle/x", "/tmpfile"], {
    mounts,
    environment: { HOME: "/tmp", PYTHONPATH: "/code/main.py:/tmp/lib", OTHER: "a/tmp" },
  });
  sandbox.channel.write("hello");
  const [answer, stdout, exit] = await Promise.all([text(sandbox.channel), text(sandbox.stdout), sandbox.exited]);
  expect([answer, exit]).toEqual(["hello", { code: 5, signal: null, cause: "exited" }]);
  const [environment, directory, argv] = JSON.parse(stdout);
  const scratch = join(sandbox.runDirectory, "..", "tmp");
  expect(directory).toBe(scratch);
  expect(environment).toMatchObject({ HOME: scratch, PYTHONPATH: `${mounts[0]?.source}:${scratch}/lib`, OTHER: "a/tmp" });
  expect(environment).not.toHaveProperty("PATH");
  expect(argv).toEqual([mounts[0]?.source, `--run=${sandbox.runDirectory}/x`, "/tmpfile"]);
  expect(sandbox.pathInside("/code/main.py")).toBe(mounts[0]?.source);
  expect(await readdir(join(stateDirectory, "run"))).toEqual([]);
});

test("a kill takes the process group along", async () => {
  const marker = `unconfined-${process.pid}-${Math.random()}`;
  const sandbox = await start(driver, [
    PYTHON,
    "-c",
    `import os, time\nos.fork()\nprint("up", flush=True)\ntime.sleep(600) # ${marker}`,
  ]);
  const ended = outcome(sandbox);
  await new Promise((resolve) => sandbox.stdout.once("data", resolve));
  expect((await sandbox.kill()).cause).toBe("killed");
  await ended;
  expect(processesWith(marker)).toEqual([]);
});

test("a program that cannot be started is told", async () => {
  await expect(start(driver, ["/usr/bin/nothing"])).rejects.toMatchObject({ code: "SANDBOX_UNAVAILABLE" });
});
