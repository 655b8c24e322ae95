import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { findHierarchies } from "../src/cgroup/mounts.ts";
import { openControlGroups } from "../src/cgroup/open-control-groups.ts";
import { createBubblewrapDriver, createSandboxDriver } from "../src/index.ts";
import { StateDirectory } from "../src/state-directory.ts";
import { openDriver } from "./drivers.ts";
import { processesWith, until } from "./host-processes.ts";
import { outcome, PYTHON, python, run, start } from "./programs.ts";

/** Directories of control groups of any hierarchy whose path holds `name`. */
function controlGroups(name: string): string[] {
  const hierarchies = findHierarchies(readFileSync("/proc/self/mountinfo", "utf8"), readFileSync("/proc/self/cgroup", "utf8"));
  return hierarchies.flatMap(({ ownDirectory }) => {
    const parent = join(ownDirectory, name);
    return existsSync(parent)
      ? [
          parent,
          ...readdirSync(parent, { withFileTypes: true })
            .filter((e) => e.isDirectory())
            .map((e) => join(parent, e.name)),
        ]
      : [];
  });
}

test("command, environment, working directory and channel are as asked for, and nothing more", async () => {
  await using opened = await openDriver();
  const code = `import os, sys, json
fds = sorted(int(n) for n in os.listdir("/proc/self/fd"))
print(json.dumps([dict(os.environ), os.getcwd(), fds[:4], len(fds), os.readlink("/proc/self/fd/0"), sys.argv]))
os.write(3, os.read(3, 100).upper())`;
  await using sandbox = await start(opened.driver, [PYTHON, "-c", code, "a b", "$(id)", "--", ""], {
    environment: { LD_LIBRARY_PATH: "/nowhere", VALUE: "line\nand 'quotes' $HOME", EMPTY: "" },
  });
  sandbox.channel.write("hello");
  const [answer, stdout] = await Promise.all([text(sandbox.channel), text(sandbox.stdout)]);
  expect(answer).toBe("HELLO");
  const [environment, directory, descriptors, count, stdin, argv] = JSON.parse(stdout);
  expect(environment).toEqual({
    LD_LIBRARY_PATH: "/nowhere",
    VALUE: "line\nand 'quotes' $HOME",
    EMPTY: "",
    PWD: "/tmp",
    ...(environment.LC_CTYPE ? { LC_CTYPE: environment.LC_CTYPE } : {}),
  });
  expect(directory).toBe("/tmp");
  // The fifth is the listing's own.
  expect([descriptors, count]).toEqual([[0, 1, 2, 3], 5]);
  expect(stdin).toBe("/dev/null");
  expect(argv).toEqual(["-c", "a b", "$(id)", "--", ""]);
});

test("a loader variable has no effect on what runs outside or before the privileges are gone", async () => {
  await using opened = await openDriver();
  // Every dynamic program complains when it cannot preload; only the user's own, at the end of the chain, may do so.
  const { stderr, code } = await python(opened.driver, "pass", {
    environment: { LD_PRELOAD: "/nowhere.so", BASH_ENV: "/nowhere", ENV: "/nowhere" },
  });
  expect(code).toBe(0);
  expect(stderr.match(/LD_PRELOAD/g)).toHaveLength(1);
});

test("exit status and signal are told", async () => {
  await using opened = await openDriver();
  expect(await python(opened.driver, "raise SystemExit(7)")).toMatchObject({ code: 7, signal: null, cause: "exited" });
  expect(await python(opened.driver, "import os; os.kill(os.getpid(), 11)")).toMatchObject({
    code: null,
    signal: "SIGSEGV",
    cause: "exited",
  });
});

test("mounts: read-only ones refuse writes, read-write ones are given back without setuid bits", async () => {
  await using opened = await openDriver();
  const directory = await mkdtemp(join(tmpdir(), "treadle-mounts-"));
  try {
    await mkdir(join(directory, "out", "deep"), { recursive: true });
    await writeFile(join(directory, "in"), "seen");
    const code = `import os
print(open("/in").read())
try: open("/in", "w")
except OSError as error: print(error.errno)
open("/opt/out/deep/written", "w").write("made")
os.chmod("/opt/out/deep/written", 0o6755)
os.symlink("/etc/shadow", "/opt/out/link")`;
    const result = await python(opened.driver, code, {
      mounts: [
        { source: join(directory, "in"), target: "/in", access: "read-only" },
        { source: join(directory, "out"), target: "/opt/out", access: "read-write" },
      ],
    });
    expect(result).toMatchObject({ stdout: "seen\n30\n", stderr: "" });
    const made = await stat(join(directory, "out", "deep", "written"));
    expect(made.uid).toBe(process.geteuid?.());
    if (process.geteuid?.() === 0) expect(made.mode & 0o6000).toBe(0);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});

test("late files and sockets in the run directory are seen inside", async () => {
  await using opened = await openDriver();
  const code =
    "import time, os\nwhile not os.path.exists('/run/treadle/late'): time.sleep(0.01)\nprint(open('/run/treadle/late').read())";
  await using sandbox = await start(opened.driver, [PYTHON, "-c", code]);
  await writeFile(join(sandbox.runDirectory, "late"), "here");
  expect((await outcome(sandbox)).stdout).toBe("here\n");
});

test("a program that is not there, and a mount that is not there, are told", async () => {
  await using opened = await openDriver();
  const missing = await run(opened.driver, ["/usr/bin/nothing"]);
  expect(missing.code).not.toBe(0);
  expect(missing.stderr).toMatch(/nothing/);
  const mounts = [{ source: "/nowhere/at/all", target: "/x", access: "read-only" as const }];
  await expect(start(opened.driver, [PYTHON], { mounts })).rejects.toMatchObject({ code: "SANDBOX_UNAVAILABLE" });
  await expect(start(opened.driver, [PYTHON, "a\0b"])).rejects.toMatchObject({ code: "INTERNAL" });
});

test("a strict umask of the server does not lock the sandbox out of its own files", async () => {
  const before = process.umask(0o077);
  try {
    await using opened = await openDriver();
    const code =
      "import pwd, os; print(pwd.getpwuid(os.getuid()).pw_name, os.listdir('/run/treadle'), open('/etc/hosts').read() != '')";
    expect(await python(opened.driver, code)).toMatchObject({ stdout: "sandbox [] True\n", stderr: "" });
  } finally {
    process.umask(before);
  }
});

test("a state directory that was copied makes images of its own", async () => {
  await using opened = await openDriver();
  await using copy = await openDriver();
  await python(opened.driver, "pass");
  await copy.driver[Symbol.asyncDispose]();
  await cp(join(opened.stateDirectory, "roots"), join(copy.stateDirectory, "roots"), { recursive: true });
  await using again = await createBubblewrapDriver({ stateDirectory: copy.stateDirectory, warn: () => {} });
  await opened.driver[Symbol.asyncDispose]();
  await rm(join(opened.stateDirectory, "roots"), { recursive: true });
  expect(await python(again, "import ssl")).toMatchObject({ code: 0, stderr: "" });
});

test("one state directory serves one driver at a time", async () => {
  await using opened = await openDriver();
  const again = createBubblewrapDriver({ stateDirectory: opened.stateDirectory, warn: () => {} });
  await expect(again).rejects.toMatchObject({ code: "DATA_DIRECTORY_LOCKED" });
});

test("run directories stay short enough for socket paths in a deep state directory", async () => {
  const deep = join(await mkdtemp(join(tmpdir(), "treadle-deep-")), "d".repeat(100));
  const driver = await createBubblewrapDriver({ stateDirectory: deep, warn: () => {} });
  const sandbox = await start(driver, [PYTHON, "-c", "pass"], { egress: { allow: null, trusted: [] } });
  const { runDirectory } = sandbox;
  expect(join(runDirectory, "egress.sock").length).toBeLessThan(107);
  await outcome(sandbox);
  await driver[Symbol.asyncDispose]();
  expect(existsSync(join(runDirectory, ".."))).toBe(false);
  await rm(join(deep, ".."), { recursive: true });
});

test("disposal of the driver ends its sandboxes and leaves nothing but images", async () => {
  const opened = await openDriver();
  const marker = `disposed-${process.pid}-${Math.random()}`;
  const sandboxes = await Promise.all(
    [1, 2, 3].map(() => start(opened.driver, [PYTHON, "-c", `import time; time.sleep(600) # ${marker}`])),
  );
  await opened.driver[Symbol.asyncDispose]();
  expect(processesWith(marker)).toEqual([]);
  for (const sandbox of sandboxes) expect((await sandbox.exited).cause).toBe("killed");
  const left = (await readdir(opened.stateDirectory)).filter((name) => !name.startsWith("seccomp"));
  expect(left.sort()).toEqual(["accounts", "roots"]);
  await opened[Symbol.asyncDispose]();
});

async function hostProcess(stateDirectory: string, marker: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "host-process.ts"), stateDirectory, marker], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === "ready") return child;
  }
  throw new Error("The host process ended early.");
}

test("an idle driver keeps no program from ending, and leaves no process behind", async () => {
  const stateDirectory = await mkdtemp(join(tmpdir(), "treadle-idle-"));
  try {
    const code = `import { createBubblewrapDriver } from ${JSON.stringify(join(import.meta.dirname, "..", "src", "index.ts"))};
import { python } from ${JSON.stringify(join(import.meta.dirname, "programs.ts"))};
const driver = await createBubblewrapDriver({ stateDirectory: ${JSON.stringify(stateDirectory)}, warn: () => {} });
await python(driver, "pass");
await new Promise((resolve) => setTimeout(resolve, 300));`;
    const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", code], { stdio: "inherit" });
    const status = await new Promise((resolve) => child.once("exit", resolve));
    expect(status).toBe(0);
    const name = await groupName(stateDirectory);
    const inside = () =>
      controlGroups(name)
        .flatMap((group) => readFileSync(join(group, "cgroup.procs"), "utf8").trim())
        .filter(Boolean);
    await until(() => inside().length === 0, 2000);
    await using driver = await createBubblewrapDriver({ stateDirectory, warn: () => {} });
    expect(driver.name).toBe("bubblewrap");
  } finally {
    await rm(stateDirectory, { recursive: true, force: true });
  }
});

test("kill -9 of the host takes its sandboxes along, and the next start removes the rest", async () => {
  const stateDirectory = await mkdtemp(join(tmpdir(), "treadle-killed-"));
  const marker = `orphan-${process.pid}-${Math.random()}`;
  try {
    for (let round = 0; round < 3; round++) {
      const host = await hostProcess(stateDirectory, marker);
      // Five sandboxes: in each bubblewrap outside and inside, the program, and its daemon.
      expect(processesWith(marker).length).toBeGreaterThanOrEqual(10);
      const dead = new Promise((resolve) => host.once("exit", resolve));
      host.kill("SIGKILL");
      await dead;
      await until(() => processesWith(marker).length === 0, 5000);
    }
    const driver = await createBubblewrapDriver({ stateDirectory, warn: () => {} });
    expect(await readdir(join(stateDirectory, "run"))).toEqual([]);
    await driver[Symbol.asyncDispose]();
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(stateDirectory);
    const name = await groupName(stateDirectory);
    expect(controlGroups(name)).toEqual([]);
  } finally {
    await rm(stateDirectory, { recursive: true, force: true });
  }
});

async function groupName(stateDirectory: string): Promise<string> {
  const state = await StateDirectory.open(stateDirectory);
  await state.close();
  return state.name;
}

test("processes that an earlier life left in its control groups are killed at the next start", async (ctx) => {
  const stateDirectory = await mkdtemp(join(tmpdir(), "treadle-left-"));
  try {
    const groups = openControlGroups(await groupName(stateDirectory));
    if (!groups) return void ctx.skip("this user may make no control groups");
    const group = groups.create("0123456789ab");
    const left = spawn("/bin/sh", ["-c", 'for f in "$@"; do echo 0 >"$f"; done; exec sleep 600', "sh", ...group.joinFiles], {
      stdio: "ignore",
    });
    const dead = new Promise<string | null>((resolve) => left.once("exit", (_code, signal) => resolve(signal)));
    await until(() => readFileSync(group.joinFiles[0] as string, "utf8").includes(String(left.pid)), 2000);
    const warnings: string[] = [];
    const driver = await createBubblewrapDriver({ stateDirectory, warn: (message) => warnings.push(message) });
    expect(await dead).toBe("SIGKILL");
    expect(warnings.join()).toContain("1 control groups");
    await driver[Symbol.asyncDispose]();
    expect(controlGroups(await groupName(stateDirectory))).toEqual([]);
  } finally {
    await rm(stateDirectory, { recursive: true, force: true });
  }
});

test("an orphan that no control group knows of is found by its run directory", async () => {
  const stateDirectory = await mkdtemp(join(tmpdir(), "treadle-orphan-"));
  try {
    const marker = `orphan-${process.pid}-${Math.random()}`;
    const left = join(stateDirectory, "run", "0123456789ab");
    await mkdir(left, { recursive: true });
    const options = ["--ro-bind", "/", "/", "--tmpfs", "/run", "--ro-bind", left, "/run/treadle", "--unshare-pid", "--"];
    const orphan = spawn("bwrap", [...options, PYTHON, "-c", `import time; time.sleep(600) # ${marker}`], { stdio: "ignore" });
    const dead = new Promise((resolve) => orphan.once("exit", resolve));
    await until(() => processesWith(marker).some((pid) => readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("python")), 5000);
    const driver = await createBubblewrapDriver({ stateDirectory, warn: () => {} });
    await dead;
    await until(() => processesWith(marker).length === 0, 2000);
    await driver[Symbol.asyncDispose]();
  } finally {
    await rm(stateDirectory, { recursive: true, force: true });
  }
});

test("an unknown driver is an invalid setting", async () => {
  await expect(createSandboxDriver("chroot", { stateDirectory: "/nowhere", warn: () => {} })).rejects.toMatchObject({
    code: "INVALID_SETTING",
  });
});

test("examine finds this machine fit", async () => {
  await using opened = await openDriver();
  const findings = await opened.driver.examine();
  expect(findings.find(({ name }) => name === "trial sandbox")).toMatchObject({ status: "ok" });
  for (const { status, message, remedy } of findings) {
    expect(message.length).toBeGreaterThan(5);
    if (status !== "ok") expect(remedy).toBeTruthy();
  }
});
