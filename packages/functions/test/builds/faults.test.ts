import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, test, vi } from "vitest";
import { sourceOf } from "./archives.ts";
import { ended, setWorkbench, shellRuntime } from "./workbench.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

/** Another process with a build under way. */
async function holder(folder: string, compile: string) {
  const program = fileURLToPath(new URL("hold-builds.ts", import.meta.url));
  const child = spawn(process.execPath, [program, folder, compile], { stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const [id] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  return { id, child, exited };
}

async function processesWith(text: string): Promise<string[]> {
  const { readdir } = await import("node:fs/promises");
  const found: string[] = [];
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    const line = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (line.includes(text)) found.push(pid);
  }
  return found;
}

test.each(["SIGKILL", "end of input"])("a build whose server goes by %s is taken up by the next one", async (how) => {
  const folder = await mkdtemp(join(tmpdir(), "treadle-builds-kill-"));
  try {
    const mark = `mark-${process.pid}-${how.length}`;
    const script = `echo begun; test "$0" = none || sleep 2; echo ${mark}; cat /source/main.sh > /artifact/out; sleep 3`;
    const first = await holder(folder, script);
    if (how === "SIGKILL") first.child.kill("SIGKILL");
    else first.child.stdin.end();
    await first.exited;
    const runtime = await shellRuntime("held", { compile: script });
    await using bench = await setWorkbench({ folder, runtimes: [runtime] });
    const before = await bench.builds.get(first.id);
    expect(["queued", "building"]).toContain(before?.state);
    const ends: string[] = [];
    bench.builds.onEnd(({ id, state }) => void ends.push(`${id} ${state}`));
    const done = await ended(bench.builds, first.id);
    expect(done.state, done.text).toBe("ready");
    expect(done.text.includes("begun anew")).toBe(how === "SIGKILL");
    expect(await readFile(join((await bench.builds.artifact(done.id)).code, "out"), "utf8")).toBe("hello");
    expect(ends).toEqual([`${first.id} ready`]);
    expect(await bench.leftovers()).toEqual([]);
    // The process it had is gone with it.
    expect(await processesWith(`${mark};`)).toEqual([]);
    // Asked for again it is not built again.
    const source = await bench.builds.takeSource(await sourceOf({ "main.sh": "hello" }));
    expect((await bench.builds.request({ source, runtime, entrypoint: null, command: null })).id).toBe(first.id);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("a build that kills its server each time is given up", async () => {
  const folder = await mkdtemp(join(tmpdir(), "treadle-builds-kill-"));
  try {
    const script = "echo begun; sleep 60";
    let id = "";
    for (let round = 0; round < 3; round++) {
      const held = await holder(folder, script);
      held.child.kill("SIGKILL");
      await held.exited;
      id = held.id;
    }
    const runtime = await shellRuntime("held", { compile: script });
    await using bench = await setWorkbench({ folder, runtimes: [runtime] });
    expect(await bench.builds.ended(id)).toMatchObject({
      state: "failed",
      error: { code: "BUILD_FAILED", message: expect.stringContaining("begun 3 times") },
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("half a layer is never found: what a crash left is removed, and layers go when there is no room", async () => {
  const folder = await mkdtemp(join(tmpdir(), "treadle-builds-layers-"));
  try {
    const runtime = await shellRuntime("layered", {
      compile: "dd if=/dev/zero of=/artifact/z bs=1M count=4; cp /source/main.sh /artifact/",
    });
    const first = await setWorkbench({ folder, runtimes: [runtime] });
    const source = await first.builds.takeSource(await sourceOf({ "main.sh": "1" }));
    const { id } = await first.builds.request({ source, runtime, entrypoint: null, command: null });
    await first.builds.ended(id);
    const { code } = await first.builds.artifact(id);
    await first[Symbol.asyncDispose]();
    const draft = join(folder, "layers/.tmp-torn");
    await writeFile(draft, "half");

    await using second = await setWorkbench({ folder, runtimes: [runtime], settings: { layersBytes: 1024 * 1024 } });
    await expect(access(draft)).rejects.toThrow();
    // Just used: it stays, though it is too large.
    await second.builds.collect();
    await access(code);
    const { utimes } = await import("node:fs/promises");
    await utimes(code, 1, 1);
    // In use by a sandbox that has it mounted: it stays.
    const sandbox = await second.driver.spawn({
      command: ["/bin/sh", "-c", "sleep 60"],
      ...{ environment: { PATH: "/usr/bin:/bin" }, workingDirectory: "/", root: runtime.root, egress: null },
      mounts: [{ source: code, target: "/code", access: "read-only" }],
      limits: { memoryBytes: 64 * 1024 * 1024, processes: 16, cpus: null, scratchBytes: 1024 * 1024, openFiles: 64 },
    });
    sandbox.stdout.resume();
    sandbox.stderr.resume();
    await new Promise((resolve) => setTimeout(resolve, 300));
    await second.builds.collect();
    await access(code);
    await sandbox.kill();
    await second.builds.collect();
    await expect(access(code)).rejects.toThrow();
    // And it comes back.
    expect((await second.builds.artifact(id)).code).toBe(code);
    await access(join(code, "z"));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
