import { spawn } from "node:child_process";
import { chmod, cp, mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { worked } from "./attempts.ts";
import { processesWith } from "./host-processes.ts";
import type { UserReport } from "./ordinary-user-program.ts";

/** An id that no account has; systemd's list gives 60706-61183 to nobody. */
const USER = "60999";

let directory: string;
let report: UserReport | string;

/** Runs a test program as an ordinary user, from a copy of this package where that user can read it. */
async function runAsUser(): Promise<UserReport | string> {
  const packages = join(directory, "packages");
  const source = join(import.meta.dirname, "..");
  await mkdir(join(directory, "node_modules", "@treadle"), { recursive: true });
  for (const name of ["sandbox", "errors"]) await cp(join(source, "..", name), join(packages, name), { recursive: true });
  await symlink(join(packages, "errors"), join(directory, "node_modules", "@treadle", "errors"));
  // The running Node may lie where only root can go.
  await cp(process.execPath, join(directory, "node"));
  await mkdir(join(directory, "home"));
  await chmod(join(directory, "home"), 0o777);
  await chmod(directory, 0o755);
  const program = join(packages, "sandbox", "test", "ordinary-user-program.ts");
  const child = spawn(
    "setpriv",
    ["--reuid", USER, "--regid", USER, "--clear-groups", join(directory, "node"), program, join(directory, "home", "state")],
    {
      stdio: ["ignore", "pipe", "pipe"],
      env: { PATH: "/usr/bin:/bin", TMPDIR: "/tmp" },
      cwd: directory,
    },
  );
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return stdout.startsWith("{") ? (JSON.parse(stdout) as UserReport) : stdout + stderr;
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "treadle-user-"));
  if (process.geteuid?.() === 0) report = await runAsUser();
});
afterAll(() => rm(directory, { recursive: true, force: true }));

test("as an ordinary user the sandbox holds as well", (ctx) => {
  if (process.geteuid?.() !== 0) ctx.skip("only root can become another user; run as one, the other tests cover this");
  if (typeof report === "string" && report.includes("user namespaces"))
    ctx.skip(`this machine refuses user namespaces: ${report}`);
  if (typeof report === "string") throw new Error(report);
  expect(worked(report.python)).toEqual([]);
  expect(worked(report.node)).toEqual([]);
  expect([report.python.connections, report.node.connections]).toEqual([0, 0]);
  expect(report.python.results.uid).toBe(1000);
  expect(report.findings.find(({ name }) => name === "trial sandbox")?.status).toBe("ok");

  // Whatever bounds it here: control groups that were delegated, or rlimits and the watchdog.
  expect(report.forkBomb).toBe("11 49\n");
  expect(report.memoryBombs).toEqual({
    heap: "out_of_memory",
    tmpfs: "out_of_memory",
    inodes: "out_of_memory",
    forked: "out_of_memory",
  });
  expect(report.scratch).toBe("28\n");
  expect(report.givenBack).toBe("made");
  expect(report.killed).toBe("killed");
  expect(report.memoryBytes).toBeGreaterThan(20e6);
  expect(report.leftRunDirectories).toEqual([]);
  expect(processesWith(report.marker)).toEqual([]);
  expect(report.killedHost[0]).toBeGreaterThanOrEqual(10);
  expect(report.killedHost[1]).toBe(0);
  expect(report.echo).toBe("HELLO");
  expect(Object.values(report.connections.results)).not.toContain("connected");
  expect([report.connections.results.link, report.connections.connections, report.connections.opens]).toEqual([
    "ENOTSOCK",
    0,
    false,
  ]);
});

test("without control groups that is said once, with the way to get them", (ctx) => {
  if (typeof report !== "object") ctx.skip("see the test above");
  const { warnings, findings } = report as UserReport;
  const groups = findings.find(({ name }) => name === "control groups");
  if (groups?.status === "ok") return expect(warnings).toEqual([]);
  expect(warnings).toEqual([expect.stringContaining("rlimits and a memory watchdog")]);
  expect(groups?.remedy).toContain("Delegate=yes");
});
