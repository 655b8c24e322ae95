import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Runtime } from "@treadle/runtimes";
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
  expect((await stat(join(code, "bin"))).mode & 0o7777).toBe(0o555);
  expect((await stat(code)).uid).toBe(process.getuid?.());
  expect(await bench.leftovers()).toEqual([]);
  expect(bench.warnings).toEqual([]);
  expect(await readdir(join(bench.folder, "layers"))).toEqual([ready.layers[0]?.sha256]);
});
