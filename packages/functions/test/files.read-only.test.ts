import { spawn } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer, text } from "node:stream/consumers";
import { expect, test } from "vitest";
import type { ReadOnlyReport } from "./files/ordinary-user-program.ts";
import { Workbench } from "./files/workbench.ts";

const ATTEMPTS = join(import.meta.dirname, "files", "write-attempts.py");
const FILE = { type: "string", format: "file" };
/** An id that no account has; systemd's list gives 60706-61183 to nobody. */
const USER = "60998";

const NODE_ATTEMPTS = `const fs = process.getBuiltinModule("fs");
const fd = fs.openSync(file, "r");
const folder = file.slice(0, file.lastIndexOf("/"));
const attempts = {
  chmod: () => fs.chmodSync(file, 0o666),
  fchmod: () => fs.fchmodSync(fd, 0o666),
  "chmod /proc/self/fd": () => fs.chmodSync("/proc/self/fd/" + fd, 0o666),
  write: () => fs.writeFileSync(file, "changed"),
  append: () => fs.appendFileSync(file, "changed"),
  "open /proc/self/fd": () => fs.openSync("/proc/self/fd/" + fd, "r+"),
  truncate: () => fs.truncateSync(file, 1),
  ftruncate: () => fs.ftruncateSync(fd, 1),
  utimes: () => fs.utimesSync(file, 1, 1),
  futimes: () => fs.futimesSync(fd, 1, 1),
  chown: () => fs.chownSync(file, process.getuid(), process.getgid()),
  link: () => fs.linkSync(file, file + ".link"),
  "link to scratch": () => fs.linkSync(file, "/tmp/link"),
  rename: () => fs.renameSync(file, file + ".renamed"),
  unlink: () => fs.unlinkSync(file),
  rm: () => fs.rmSync(folder, { recursive: true }),
  create: () => fs.writeFileSync(folder + "/new", "x"),
  symlink: () => fs.symlinkSync("/tmp", folder + "/symlink"),
  mkdir: () => fs.mkdirSync("/files/new"),
};
const worked = [];
for (const [name, run] of Object.entries(attempts)) { try { run(); worked.push(name); } catch {} }
return { worked, attempts: Object.keys(attempts).length, content: fs.readFileSync(file, "utf8"), entries: fs.readdirSync(folder) };`;

test("nothing changes a file that a call was given, nor what surrounds it", async () => {
  await using bench = await Workbench.set({ settings: { allowedModules: null } });
  const file = await bench.files.put("w", { name: "file" }, Readable.from([Buffer.from("original")]));
  const found = statSync(locate(bench.folder, file.sha256));
  await bench.save("w", {
    python: { language: "python", code: `${readFileSync(ATTEMPTS, "utf8")}\nreturn attempt(file)`, parameters: { file: FILE } },
    node: { code: NODE_ATTEMPTS, parameters: { file: FILE } },
  });
  for (const name of ["python", "node"]) {
    const told = await bench.result<{ attempts: number }>("w", name, { file: file.id });
    expect(told).toEqual({ attempts: told.attempts, worked: [], content: "original", entries: ["file"] });
    expect(told.attempts).toBeGreaterThan(15);
  }
  const after = statSync(locate(bench.folder, file.sha256));
  expect([after.ino, after.mode, after.mtimeMs, after.size, after.uid]).toEqual([
    found.ino,
    found.mode,
    found.mtimeMs,
    found.size,
    found.uid,
  ]);
  expect((await buffer(await bench.files.read(file))).toString()).toBe("original");
}, 60_000);

/** Where the local storage keeps the bytes of a digest. */
function locate(folder: string, sha256: string): string {
  return join(folder, "files", sha256.slice(0, 2), sha256.slice(2));
}

test("as an ordinary user, whose id the code has as well, neither", async (ctx) => {
  if (process.geteuid?.() !== 0) return ctx.skip("only root can become another user; run as one, the test above covers this");
  const directory = mkdtempSync(join(tmpdir(), "treadle-user-"));
  try {
    const report = await runAsUser(directory);
    if (typeof report === "string" && report.includes("user namespaces"))
      return ctx.skip(`this machine refuses user namespaces: ${report}`);
    if (typeof report === "string") throw new Error(report);
    const { inside, stored, writableByUs } = report;
    expect(inside).toEqual({ attempts: inside.attempts, worked: [], content: "original", entries: ["file"], uid: 1000 });
    expect(stored).toEqual({ content: "original", mode: 0o444, mtimeMs: stored.mtimeMs, links: 2 });
    expect(stored.mtimeMs).toBeGreaterThan(Date.now() - 600_000);
    // Else the attempts would have shown nothing.
    expect(writableByUs).toBe(true);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}, 60_000);

/** Runs the program as an ordinary user, from copies where that user can read them. */
async function runAsUser(directory: string): Promise<ReadOnlyReport | string> {
  const packages = join(import.meta.dirname, "..", "..");
  const modules = join(directory, "node_modules", "@treadle");
  mkdirSync(modules, { recursive: true });
  // Outside of node_modules, where Node runs no TypeScript.
  for (const name of ["sandbox", "errors"]) {
    cpSync(join(packages, name), join(directory, "packages", name), { recursive: true });
    symlinkSync(join(directory, "packages", name), join(modules, name));
  }
  const program = join(directory, "program.ts");
  cpSync(join(import.meta.dirname, "files", "ordinary-user-program.ts"), program);
  cpSync(ATTEMPTS, join(directory, "write-attempts.py"));
  // The running Node may lie where only root can go.
  cpSync(process.execPath, join(directory, "node"));
  mkdirSync(join(directory, "home"));
  chmodSync(join(directory, "home"), 0o777);
  chmodSync(directory, 0o755);
  const child = spawn(
    "setpriv",
    [
      ...["--reuid", USER, "--regid", USER, "--clear-groups", join(directory, "node"), program],
      ...[join(directory, "home"), join(directory, "write-attempts.py")],
    ],
    { stdio: ["ignore", "pipe", "pipe"], env: { PATH: "/usr/bin:/bin", TMPDIR: "/tmp" }, cwd: directory },
  );
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return stdout.startsWith("{") ? (JSON.parse(stdout) as ReadOnlyReport) : stdout + stderr;
}
