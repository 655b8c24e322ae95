import { createHash } from "node:crypto";
import { readdir, readFile, rm, stat } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { findRuntimes, type Runtime } from "@treadle/runtimes";
import { expect, test, vi } from "vitest";
import { sourceOf } from "./archives.ts";
import { ended, linesOf, setWorkbench, shellRuntime, textOf } from "./workbench.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const request = (runtime: Runtime, command: string | null = null) => ({ runtime, entrypoint: "main.sh", command });

test("a source is compiled in a sandbox, its artifact kept, and its log followed and read again", async () => {
  const compiled = await shellRuntime("test", {
    compile:
      "echo compiling $TREADLE_ENTRYPOINT; ls /source; mkdir -p /artifact/bin; tr a-z A-Z < /source/main.sh > /artifact/bin/main; chmod 755 /artifact/bin/main",
  });
  await using bench = await setWorkbench({ runtimes: [compiled] });
  const { builds } = bench;
  const ends: unknown[] = [];
  builds.onEnd((build, error) => void ends.push([build.state, error]));
  const source = await builds.takeSource(await sourceOf({ "main.sh": "hello", "folder/more.txt": "more" }));
  const queued = await builds.request({ source, ...request(compiled) });
  expect(queued).toMatchObject({
    language: "test",
    runtime: "test-1",
    sourceDigest: source.digest,
    sourceFiles: 2,
    sourceBytes: 9,
  });
  const live = linesOf(builds, queued.id);
  const ready = await ended(builds, queued.id);
  expect(ready).toMatchObject({ state: "ready", artifactBytes: 5, error: null });
  expect(ready.layers).toEqual([{ kind: "code", bytes: 5, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) }]);
  expect(ready.text).toContain("compiling main.sh\nfolder\nmain.sh\n");
  const lines = await live;
  expect(lines).toEqual(await linesOf(builds, queued.id));
  expect(lines.map(({ number }) => number)).toEqual(lines.map((_, at) => at + 1));
  expect(lines.find(({ text }) => text === "compiling main.sh")?.stream).toBe("stdout");
  expect(await textOf(builds, queued.id, lines.length - 1)).toMatch(/^Built in /);
  expect(ends).toEqual([["ready", null]]);

  const { code, dependencies } = await builds.artifact(queued.id);
  expect(dependencies).toBeNull();
  expect(await readFile(join(code, "bin/main"), "utf8")).toBe("HELLO");
  expect((await stat(join(code, "bin/main"))).mode & 0o7777).toBe(0o555);
  expect((await stat(join(code, "bin"))).mode & 0o7777).toBe(0o755);
  expect((await stat(code)).uid).toBe(process.getuid?.());
  expect(await bench.leftovers()).toEqual([]);
  expect(bench.warnings).toEqual([]);
  expect(await readdir(join(bench.folder, "layers"))).toEqual([ready.layers[0]?.sha256]);
});

test("equal requests at the same time are one build, and later ones find it", async () => {
  const slow = await shellRuntime("slow", { compile: "date +%N > /artifact/when; sleep 1" });
  await using bench = await setWorkbench({ runtimes: [slow] });
  const { builds } = bench;
  const source = await builds.takeSource(await sourceOf({ "main.sh": "hello" }));
  const ask = () => builds.request({ source, ...request(slow) });
  const ids = new Set((await Promise.all(Array.from({ length: 20 }, ask))).map(({ id }) => id));
  expect(ids.size).toBe(1);
  const [id = ""] = ids;
  expect((await builds.ended(id)).state).toBe("ready");
  expect((await ask()).id).toBe(id);
  const other = await builds.request({ source, ...request(slow), entrypoint: "other.sh" });
  expect(other.id).not.toBe(id);
  expect((await builds.ended(other.id)).state).toBe("ready");
});

test("what failed may be tried again, and says the step, the status and what it said last", async () => {
  const failing = await shellRuntime("failing", { compile: "echo fine; echo 'main.sh:3: syntax error' >&2; exit 3" });
  await using bench = await setWorkbench({ runtimes: [failing] });
  const { builds } = bench;
  const source = await builds.takeSource(await sourceOf({ "main.sh": "hello" }));
  const errors: unknown[] = [];
  builds.onEnd((_build, error) => void errors.push(error?.details));
  const first = await builds.request({ source, ...request(failing) });
  const failed = await ended(builds, first.id);
  expect(failed).toMatchObject({
    state: "failed",
    layers: [],
    error: {
      code: "BUILD_FAILED",
      message: expect.stringMatching(/The step compile failed\. It ended with status 3\..*main\.sh:3: syntax error/),
    },
  });
  expect(failed.text).toContain("The step compile failed.");
  // It is told after it is durable.
  await expect
    .poll(() => errors)
    .toEqual([
      expect.objectContaining({ step: "compile", exitCode: 3, limit: null, lastLines: expect.arrayContaining(["fine"]) }),
    ]);
  await expect(builds.artifact(first.id)).rejects.toMatchObject({ code: "BUILD_FAILED" });
  const second = await builds.request({ source, ...request(failing) });
  expect(second.id).not.toBe(first.id);
  await builds.ended(second.id);
});

test("a build that is cancelled ends at once, whether it waits or runs", async () => {
  const endless = await shellRuntime("endless", { compile: "echo begun; sleep 600" });
  await using bench = await setWorkbench({ runtimes: [endless], settings: { concurrent: 1 } });
  const { builds } = bench;
  const source = await builds.takeSource(await sourceOf({ "main.sh": "hello" }));
  const running = await builds.request({ source, ...request(endless) });
  const waiting = await builds.request({ source, ...request(endless), entrypoint: "other.sh" });
  for await (const { text } of builds.log(running.id)) if (text === "begun") break;
  expect((await builds.get(waiting.id))?.state).toBe("queued");
  expect((await builds.cancel(waiting.id)).state).toBe("cancelled");
  const began = performance.now();
  const cancelled = await builds.cancel(running.id);
  expect(performance.now() - began).toBeLessThan(3000);
  expect(cancelled).toMatchObject({ state: "cancelled", error: null });
  expect(await textOf(builds, running.id)).toMatch(/begun\nCancelled\.\n$/);
  expect((await builds.ended(running.id)).state).toBe("cancelled");
  expect(await bench.leftovers()).toEqual([]);
  // It may be asked for again, and what has ended is not cancelled.
  const again = await builds.request({ source, ...request(endless) });
  expect(again.id).not.toBe(running.id);
  await builds.cancel(again.id);
  expect((await builds.cancel(running.id)).state).toBe("cancelled");
  expect(bench.warnings).toEqual([]);
});

test("dependencies are fetched once for equal manifests, and are there without their registry", async () => {
  const registry = createServer((_request, response) => response.end("package"));
  await new Promise<void>((resolve) => registry.listen(0, "127.0.0.1", resolve));
  const { port } = registry.address() as AddressInfo;
  // No tool of the shell's can speak HTTP: Node does, as any package tool would, through the proxy it is told of.
  const fetchScript = `ls /source > /dependencies/seen; echo fetching; node -e 'fetch("http://127.0.0.1:${port}/").then((r) => r.text()).then((t) => require("fs").writeFileSync("/dependencies/package", t))' && cp /source/packages.txt /dependencies/lock`;
  const plain = await shellRuntime(
    "fetched",
    { fetch: fetchScript, compile: "cat /dependencies/package /source/main.sh > /artifact/out" },
    { registries: [`127.0.0.1:${port}`] },
  );
  const node = (await findRuntimes()).named("node") as Runtime;
  const step = plain.build.fetch as NonNullable<Runtime["build"]["fetch"]>;
  const root = { executables: [...step.root.executables, ...node.root.executables], system: node.root.system };
  const runtime: Runtime = { ...plain, build: { ...plain.build, fetch: { ...step, root } } };
  await using bench = await setWorkbench({ runtimes: [runtime] });
  const { builds } = bench;
  const build = async (files: Record<string, string>) => {
    const source = await builds.takeSource(await sourceOf(files));
    return ended(builds, (await builds.request({ source, ...request(runtime) })).id);
  };
  const first = await build({ "main.sh": "1", "packages.txt": "one 1.0\n", "sub/packages.txt": "" });
  expect(first, first.text).toMatchObject({ state: "ready", error: null });
  expect(first.text).toContain("fetching");
  expect(first.lockDigest).toBe(createHash("sha256").update("one 1.0\n").digest("hex"));
  const { code, dependencies } = await builds.artifact(first.id);
  expect(await readFile(join(code, "out"), "utf8")).toBe("package1");
  // Nothing of the source but its manifests was there.
  expect(await readFile(join(dependencies ?? "", "seen"), "utf8")).toBe("packages.txt\nsub\n");
  registry.closeAllConnections();
  await new Promise((resolve) => registry.close(resolve));

  const second = await build({ "main.sh": "2", "packages.txt": "one 1.0\n", "sub/packages.txt": "" });
  expect(second.state, second.text).toBe("ready");
  expect(second.text).not.toContain("fetching");
  expect(second.text).toContain("fetched before");
  expect(second.layers.find(({ kind }) => kind === "dependencies")).toEqual(
    first.layers.find(({ kind }) => kind === "dependencies"),
  );
  expect(second.lockDigest).toBe(first.lockDigest);
  const third = await build({ "main.sh": "3", "packages.txt": "two 2.0\n" });
  expect(third).toMatchObject({ state: "failed", error: { message: expect.stringContaining("The step fetch failed") } });
});

test("layers that storage lost are said to be damaged, and dependencies are fetched again", async () => {
  const runtime = await shellRuntime("lost", {
    fetch: "echo x > /dependencies/x",
    compile: "cp /dependencies/x /source/main.sh /artifact/",
  });
  await using bench = await setWorkbench({ runtimes: [runtime] });
  const { builds } = bench;
  const source = await builds.takeSource(await sourceOf({ "main.sh": "1" }));
  const first = await ended(builds, (await builds.request({ source, ...request(runtime) })).id);
  expect(first.state, first.text).toBe("ready");
  for (const { sha256 } of first.layers) {
    await rm(join(bench.folder, "files", sha256.slice(0, 2), sha256.slice(2)));
    await rm(join(bench.folder, "layers", sha256), { recursive: true, force: true });
  }
  await expect(builds.artifact(first.id)).rejects.toMatchObject({ code: "FILE_DAMAGED" });
  const second = await ended(builds, (await builds.request({ source, ...request(runtime), entrypoint: "other" })).id);
  expect(second.state, second.text).toBe("ready");
  expect(second.text).toContain("damaged");
  // The same bytes were put again, which mended the first build as well.
  await builds.artifact(first.id);
});

test("a long log is kept whole in storage, cut where it is too long, and made safe to show", async () => {
  const chatty = await shellRuntime("chatty", {
    compile:
      "seq 1 30000; printf '\\033[31mred\\033[0m a\\tb \\007 \\r\\n'; head -c 100000 /dev/zero | tr '\\0' x; echo; echo end; echo 1 > /artifact/a",
  });
  await using bench = await setWorkbench({ runtimes: [chatty] });
  const { builds } = bench;
  const source = await builds.takeSource(await sourceOf({ "main.sh": "1" }));
  const { id } = await builds.request({ source, ...request(chatty) });
  expect((await builds.ended(id)).state).toBe("ready");
  const lines = await linesOf(builds, id);
  expect(lines.slice(2, 5).map(({ text }) => text)).toEqual(["1", "2", "3"]);
  expect(lines.map(({ number }) => number)).toEqual(lines.map((_, at) => at + 1));
  expect(lines.find(({ text }) => text.startsWith("red"))?.text).toBe("red a\tb  ");
  const long = lines.find(({ text }) => text.startsWith("xxx"))?.text ?? "";
  expect([long.length < 4100, long.endsWith("... (line cut)")]).toEqual([true, true]);
  expect(await linesOf(builds, id, 29_990)).toEqual(lines.slice(29_990));
  expect(await linesOf(builds, id, 5)).toEqual(lines.slice(5));

  await using small = await setWorkbench({ runtimes: [chatty], settings: { logBytes: 20_000 } });
  const cut = await small.builds.takeSource(await sourceOf({ "main.sh": "1" }));
  const build = await ended(small.builds, (await small.builds.request({ source: cut, ...request(chatty) })).id);
  expect(build.state).toBe("ready");
  expect(build.text.match(/The log is cut here/g)).toHaveLength(1);
  expect(build.text.length).toBeLessThan(21_000);
  expect(build.text).toMatch(/Built in .*\n$/);
});

test("builds that no deployment has are removed, with what only they had", async () => {
  const runtime = await shellRuntime("kept", { compile: "cp /source/main.sh /artifact/; date +%N > /artifact/now" });
  await using bench = await setWorkbench({ runtimes: [runtime], settings: { keepUnusedMs: 300 } });
  const { builds, store } = bench;
  const source = await builds.takeSource(await sourceOf({ "main.sh": "1" }));
  const kept = await builds.request({ source, ...request(runtime) });
  await builds.ended(kept.id);
  await builds.artifact(kept.id);
  expect(await builds.collect()).toBe(0);
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(await builds.collect()).toBe(1);
  expect(await builds.get(kept.id)).toBeNull();
  await expect(builds.ended(kept.id)).rejects.toMatchObject({ code: "UNKNOWN_DEPLOYMENT" });
  expect(await store.builds.knownLayers([source.sha256])).toEqual(new Set());
});
