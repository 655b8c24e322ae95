import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ownEnvironment, runTreadle } from "./cli-server.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "treadle-doctor-test-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Report {
  ok: boolean;
  findings: { name: string; status: string; message: string; remedy?: string }[];
}

async function doctor(env: Record<string, string> = {}, ...args: string[]): Promise<{ status: number | null; report: Report }> {
  const environment = { ...ownEnvironment(), ...env };
  const { status, stdout } = await runTreadle(["doctor", "--data-dir", join(folder, "data"), "--json", ...args], {
    env: environment,
  });
  return { status, report: JSON.parse(stdout) as Report };
}

test("needs no server, tells all it looked at, and leaves nothing behind", async () => {
  const temporary = join(folder, "tmp");
  await mkdir(temporary, { mode: 0o755 });
  const { status, report } = await doctor({ TMPDIR: temporary });
  const names = report.findings.map(({ name }) => name);
  expect(names).toEqual(
    expect.arrayContaining([
      "Node",
      "memory",
      "data directory",
      "database",
      "bubblewrap",
      "control groups",
      "seccomp",
      "node",
      "npm",
      "uv",
    ]),
  );
  expect(report.findings.find(({ name }) => name === "Node")).toMatchObject({ status: "ok" });
  expect(report.ok).toBe(!report.findings.some((finding) => finding.status === "missing"));
  expect(status).toBe(report.ok ? 0 : 1);
  expect(await readdir(temporary)).toEqual([]);
  expect(await readdir(folder)).toEqual(["tmp"]);
});

test("prints one line per finding, with the command that mends what is not well", async () => {
  const env = { ...ownEnvironment(), TREADLE_PYTHON: join(folder, "no-python") };
  const { stdout } = await runTreadle(["doctor", "--data-dir", folder], { env });
  const lines = stdout.trimEnd().split("\n");
  for (const line of lines) expect(line).toMatch(/^(ok|absent|degraded|missing) +\S.*: \S|^ {10}(mend it|to have it): \S/);
  const python = lines.findIndex((line) => /^degraded +python: /.test(line));
  expect(python).toBeGreaterThan(0);
  expect(lines[python + 1]).toContain("mend it: Set TREADLE_PYTHON");
});

test("status 1 when something indispensable is missing", async () => {
  // Not even root can make a folder there.
  const { status, stdout } = await runTreadle(["doctor", "--json", "--data-dir", "/proc/treadle/data"]);
  expect(status).toBe(1);
  const report = JSON.parse(stdout) as Report;
  expect(report.ok).toBe(false);
  expect(report.findings.find(({ name }) => name === "data directory")).toMatchObject({ status: "missing" });
});

test("a faulty setting is told as such", async () => {
  const { status, stderr } = await runTreadle(["doctor"], { env: { ...ownEnvironment(), PORT: "many" } });
  expect(status).toBe(1);
  expect(stderr).toContain("treadle: INVALID_SETTING: PORT:");
});
