import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { makeGroup, removeGroup } from "../src/cgroup/group-directory.ts";
import { findHierarchies, type Hierarchy } from "../src/cgroup/mounts.ts";
import { openVersion1 } from "../src/cgroup/version-1.ts";
import { openVersion2 } from "../src/cgroup/version-2.ts";
import { processesWith, until } from "./host-processes.ts";

test("hierarchies are found on a unified, a hybrid and a contained machine", () => {
  const unified = findHierarchies(
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot",
    "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope\n",
  );
  expect(unified).toEqual([
    {
      version: 2,
      controllers: [],
      mountPoint: "/sys/fs/cgroup",
      ownDirectory: "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope",
    },
  ]);
  const hybrid = findHierarchies(
    [
      "31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
      "32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
      "33 30 0:29 /docker/abc /sys/fs/cgroup/memory\\040here ro - cgroup cgroup rw,memory",
      "34 30 0:30 /docker/other /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids",
    ].join("\n"),
    "4:pids:/docker/abc\n3:memory:/docker/abc/inner\n2:cpu,cpuacct:/docker/abc\n0::/docker/abc\n",
  );
  expect(hybrid.map(({ controllers, ownDirectory }) => [controllers, ownDirectory])).toEqual([
    [[], "/sys/fs/cgroup/unified/docker/abc"],
    [["cpu", "cpuacct"], "/sys/fs/cgroup/cpu,cpuacct/docker/abc"],
    [["memory"], "/sys/fs/cgroup/memory here/inner"],
  ]);
});

// The kernel's files are plain ones here: what is tested is which are written, where and with what. On machines that have
// the hierarchies for real, exhaustion.test.ts and lifecycle.test.ts use them through the driver.
let mount: string;
beforeEach(async () => {
  mount = await mkdtemp(join(tmpdir(), "treadle-cgroup-"));
});
afterEach(() => rm(mount, { recursive: true, force: true }));

function directory(path: string, files: Record<string, string>): string {
  const full = join(mount, path);
  mkdirSync(full, { recursive: true });
  for (const [name, content] of Object.entries(files)) writeFileSync(join(full, name), content);
  return full;
}

function read(...path: string[]): string {
  return readFileSync(join(mount, ...path), "utf8");
}

const LIMITS = { memoryBytes: 1e8, processes: 10, cpus: 0.5 };

test("v2: groups are made in the nearest place with memory and pids, limits written, swap off", () => {
  directory("", { "cgroup.controllers": "cpu memory pids", "cgroup.subtree_control": "cpu memory pids" });
  directory("user", { "cgroup.controllers": "cpu io memory pids", "cgroup.subtree_control": "memory pids cpu" });
  const own = directory("user/session", { "cgroup.controllers": "", "cgroup.subtree_control": "", "cgroup.procs": "1\n" });
  directory("user/name", { "cgroup.controllers": "memory pids", "cgroup.subtree_control": "memory pids" });
  const hierarchy: Hierarchy = { version: 2, controllers: [], mountPoint: mount, ownDirectory: own };
  const groups = openVersion2(hierarchy, "name");
  expect(groups?.controls).toEqual({ memory: true, processes: true, cpu: false });
  const group = groups?.create("box");
  group?.setLimits(LIMITS);
  expect(group?.joinFiles).toEqual([join(mount, "user/name/box/cgroup.procs")]);
  expect(read("user/name/box/memory.max")).toBe("100000000");
  expect(read("user/name/box/memory.swap.max")).toBe("0");
  expect(read("user/name/box/memory.oom.group")).toBe("1");
  expect(read("user/name/box/pids.max")).toBe("12");
  expect(existsSync(join(mount, "user/name/box/cpu.max"))).toBe(false);
  writeFileSync(join(mount, "user/name/box/memory.events"), "low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\noom_group_kill 1\n");
  writeFileSync(join(mount, "user/name/box/memory.current"), "5000\n");
  writeFileSync(join(mount, "user/name/box/memory.stat"), "anon 1\ninactive_file 1000\n");
  expect(group?.outOfMemoryKills()).toBe(3);
  expect(group?.memoryBytes()).toBe(4000);
  group?.setLimits({ memoryBytes: 2e8, processes: 20, cpus: null });
  expect([read("user/name/box/memory.max"), read("user/name/box/pids.max")]).toEqual(["200000000", "22"]);
});

test("v2: a CPU ceiling is written as quota and period, and taken away again", () => {
  const all = "cpu memory pids";
  const own = directory("own", { "cgroup.controllers": all, "cgroup.subtree_control": all });
  directory("own/name", { "cgroup.controllers": all, "cgroup.subtree_control": all });
  const groups = openVersion2({ version: 2, controllers: [], mountPoint: mount, ownDirectory: own }, "name");
  const group = groups?.create("box");
  group?.setLimits(LIMITS);
  expect(read("own/name/box/cpu.max")).toBe("50000 100000");
  group?.setLimits({ ...LIMITS, cpus: null });
  expect(read("own/name/box/cpu.max")).toBe("max 100000");
});

test("v2: nothing is made where no controller is offered, or where they cannot be given on", () => {
  const own = directory("own", { "cgroup.controllers": "hugetlb", "cgroup.subtree_control": "" });
  const hierarchy: Hierarchy = { version: 2, controllers: [], mountPoint: mount, ownDirectory: own };
  expect(openVersion2(hierarchy, "name")).toBeNull();
  expect(existsSync(join(own, "name"))).toBe(false);
});

test("v1: memory and swap are set in the order the kernel wants, CPU as a quota", () => {
  const hierarchies = ["memory", "pids", "cpu"].map(
    (controller): Hierarchy => ({
      version: 1,
      controllers: [controller],
      mountPoint: join(mount, controller),
      ownDirectory: directory(controller, {}),
    }),
  );
  directory("memory/name/box", { "memory.memsw.limit_in_bytes": "9223372036854771712" });
  const groups = openVersion1(hierarchies, "name");
  expect(groups?.controls).toEqual({ memory: true, processes: true, cpu: true });
  const group = groups?.create("box");
  group?.setLimits(LIMITS);
  expect(read("memory/name/box/memory.limit_in_bytes")).toBe("100000000");
  expect(read("memory/name/box/memory.memsw.limit_in_bytes")).toBe("100000000");
  expect(read("pids/name/box/pids.max")).toBe("12");
  expect(read("cpu/name/box/cpu.cfs_quota_us")).toBe("50000");
  expect(group?.joinFiles).toEqual(["memory", "pids", "cpu"].map((name) => join(mount, name, "name/box/cgroup.procs")));
  writeFileSync(join(mount, "memory/name/box/memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
  expect(group?.outOfMemoryKills()).toBe(1);
  group?.setLimits({ ...LIMITS, cpus: null });
  expect(read("cpu/name/box/cpu.cfs_quota_us")).toBe("-1");
});

test("v1: without the right to make groups there are none", () => {
  const hierarchy = (controller: string): Hierarchy => ({
    version: 1,
    controllers: [controller],
    mountPoint: join(mount, "missing"),
    ownDirectory: join(mount, "missing", controller),
  });
  expect(openVersion1([hierarchy("memory"), hierarchy("pids")], "name")).toBeNull();
  rmSync(mount, { recursive: true });
  expect(openVersion1([], "name")).toBeNull();
});

test("a real v2 group is joined, killed whole and removed, a fork bomb in it as well", async (ctx) => {
  const hierarchies = findHierarchies(readFileSync("/proc/self/mountinfo", "utf8"), readFileSync("/proc/self/cgroup", "utf8"));
  const unified = hierarchies.find(({ version }) => version === 2);
  if (!unified) return void ctx.skip("there is no cgroup v2 here");
  const group = join(unified.ownDirectory, `treadle-test-${process.pid}`);
  try {
    makeGroup(join(group));
    makeGroup(join(group, "inner"));
  } catch (error) {
    return void ctx.skip(`this user may make no v2 groups: ${error}`);
  }
  const marker = `v2-${process.pid}-${Math.random()}`;
  const bomb = `import os, time
for i in range(300):
  if os.fork() == 0: os.setsid(); time.sleep(600) # ${marker}
time.sleep(600)`;
  const join0 = spawn(
    "/bin/sh",
    ["-c", 'echo 0 >"$1"; exec /usr/bin/python3 -c "$2"', "sh", join(group, "inner", "cgroup.procs"), bomb],
    { stdio: "ignore" },
  );
  const dead = new Promise((resolve) => join0.once("exit", (_code, signal) => resolve(signal)));
  await until(() => processesWith(marker).length > 100, 10_000);
  await removeGroup(group);
  expect(await dead).toBe("SIGKILL");
  expect(processesWith(marker)).toEqual([]);
  expect(existsSync(group)).toBe(false);
});
