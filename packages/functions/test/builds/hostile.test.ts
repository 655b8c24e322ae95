import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Runtime } from "@treadle/runtimes";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { BuildSettings } from "../../src/builds/build-settings.ts";
import { sourceOf } from "./archives.ts";
import { ended, linesOf, setWorkbench, shellRuntime, type Workbench } from "./workbench.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const MEBIBYTE = 1024 * 1024;

/** Runs the source's own script as its compile step: what any user may do with a build command. */
let anything: Runtime;
let bench: Workbench;
const settings: Partial<BuildSettings> = {
  memoryBytes: 256 * MEBIBYTE,
  processes: 64,
  diskBytes: 64 * MEBIBYTE,
  artifactMaxBytes: 8 * MEBIBYTE,
  timeoutMs: 60_000,
};
beforeAll(async () => {
  const shell = await shellRuntime("anything", { compile: "exec /bin/sh /source/main.sh" });
  anything = shell;
  bench = await setWorkbench({ runtimes: [anything], settings });
});
afterAll(async () => {
  expect(await bench.leftovers()).toEqual([]);
  await bench[Symbol.asyncDispose]();
});

async function build(script: string, on: Workbench = bench) {
  const source = await on.builds.takeSource(await sourceOf({ "main.sh": script }));
  const { id } = await on.builds.request({ source, runtime: anything, entrypoint: null, command: null });
  return ended(on.builds, id);
}

test("a fork bomb stays inside and ends with its build", async () => {
  await using hasty = await setWorkbench({ runtimes: [anything], settings: { ...settings, timeoutMs: 3_000 } });
  const failed = await build("f() { f | f & }; f; while :; do sleep 0.1 || exit 7; done", hasty);
  expect(failed).toMatchObject({ state: "failed", error: { code: "BUILD_FAILED" } });
  // The server is as well as before.
  expect((await build("echo 1 > /artifact/a", hasty)).state).toBe("ready");
});

test("a step that fills the disk, its folders or its memory is ended, and the limit is named", async () => {
  const disk = await build("dd if=/dev/zero of=/artifact/zeros bs=1M count=4096; echo went on; sleep 60");
  expect(disk.error?.message).toMatch(/TREADLE_BUILD_DISK_SIZE|status|ended by/);
  expect(disk.error?.message).toContain("TREADLE_BUILD_DISK_SIZE");
  const source = await build("yes > /source/yes; sleep 60");
  expect(source.error?.message).toContain("TREADLE_BUILD_DISK_SIZE");
  const memory = await build(
    "dd if=/dev/zero of=/dev/shm/a bs=1M count=120; dd if=/dev/zero of=/tmp/a bs=1M count=120; tail /dev/zero",
  );
  expect(memory.error?.message).toContain("TREADLE_BUILD_MEMORY_MB");
});

test("time is up for a build that does nothing or ignores signals", async () => {
  await using hasty = await setWorkbench({ runtimes: [anything], settings: { ...settings, timeoutMs: 2_000 } });
  const failed = await build("trap '' TERM INT HUP; (sleep 600 &); while :; do sleep 1; done", hasty);
  expect(failed.error?.message).toBe("The step compile failed. The build took longer than 2 seconds (TREADLE_BUILD_TIMEOUT).");
  expect(failed.durationMs).toBeLessThan(10_000);
});

test("nothing can be reached from a compile step: no network, no host, no other build", async () => {
  let connections = 0;
  const server = createServer(() => connections++);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const secret = join(await mkdtemp(join(tmpdir(), "treadle-secret-")), "secret");
  await writeFile(secret, "the host's secret");
  const runtime = { ...anything, name: "node-shell-1", language: "node-shell" };
  const step = anything.build.compile as NonNullable<Runtime["build"]["compile"]>;
  const root = { executables: [...step.root.executables, ...bench.node.root.executables], system: bench.node.root.system };
  const withNode: Runtime = { ...runtime, build: { ...runtime.build, compile: { ...step, root } } };
  await using own = await setWorkbench({ runtimes: [withNode], settings });
  const attempts = `
    node -e 'for (const host of ["127.0.0.1", "169.254.169.254", "1.1.1.1"]) require("net").connect({ host, port: ${port} }).on("connect", () => console.log("REACHED", host)).on("error", (e) => console.log("refused", host, e.code))'
    cat ${secret} && echo REACHED; cat /etc/shadow && echo REACHED; ls ${bench.folder} && echo REACHED; ls /run/treadle/
    echo env: $(env | tr '\\n' ' '); cat /proc/1/environ && echo REACHED
    echo x > /dependencies/x && echo REACHED; echo x > /usr/bin/x && echo REACHED
    mkdir /artifact/ok; echo 1 > /artifact/ok/1`;
  const source = await own.builds.takeSource(await sourceOf({ "main.sh": attempts }));
  const { id } = await own.builds.request({ source, runtime: withNode, entrypoint: "main.sh", command: null });
  const done = await ended(own.builds, id);
  expect(done.state, done.text).toBe("ready");
  expect(done.text).not.toContain("REACHED");
  expect(done.text.match(/refused/g)).toHaveLength(3);
  expect(done.text).not.toContain("egress.sock");
  const environment = /env: (.*)/.exec(done.text)?.[1] ?? "";
  expect(environment).toContain("TREADLE_ENTRYPOINT=main.sh");
  expect(environment).not.toContain(process.env.HOME === "/tmp" ? "\0" : `HOME=${process.env.HOME} `);
  expect(connections).toBe(0);
  server.close();
  await rm(join(secret, ".."), { recursive: true });
});

test("a fetch step reaches its registries and nothing else", async () => {
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const script = `node -e 'Promise.all(["http://127.0.0.1:${port}/", "http://169.254.169.254/", "https://example.com/"].map((u) => fetch(u).then((r) => console.log(r.ok ? "REACHED" : "refused", u), (e) => console.log("refused", u))))'; exit 5`;
  const plain = await shellRuntime("fetching", { fetch: script }, { registries: ["registry.invalid"] });
  const step = plain.build.fetch as NonNullable<Runtime["build"]["fetch"]>;
  const root = { executables: [...step.root.executables, ...bench.node.root.executables], system: bench.node.root.system };
  const runtime: Runtime = { ...plain, build: { ...plain.build, fetch: { ...step, root } } };
  await using own = await setWorkbench({ runtimes: [runtime], settings });
  const source = await own.builds.takeSource(await sourceOf({ "main.sh": "x" }));
  const failed = await ended(own.builds, (await own.builds.request({ source, runtime, entrypoint: null, command: null })).id);
  const printed = (await linesOf(own.builds, failed.id)).flatMap(({ stream, text }) => (stream === "stdout" ? [text] : []));
  expect(printed.map((text) => text.split(" ")[0])).toEqual(["refused", "refused", "refused"]);
  expect(failed.error?.message).toContain("It tried to reach other places than the package registries.");
  expect(connections).toBe(0);
  server.close();
});

test("credentials of registries are shown as stars, whatever of the operator's configuration they stand in", async () => {
  const folder = await mkdtemp(join(tmpdir(), "treadle-settings-"));
  await writeFile(
    join(folder, "settings.xml"),
    "<server><username>builder</username><password>of-maven-1</password></server><value>Bearer of-header-2</value>",
  );
  await writeFile(
    join(folder, "config.toml"),
    '[registries.own]\ntoken = "of-cargo-3"\nindex = "sparse+https://of-index-4@crates.invalid/"',
  );
  const secrets = ["of-maven-1", "of-header-2", "of-cargo-3", "of-index-4", "of-proxy-5", "p@ss word-6", "of-variable-7"];
  const script = `cat /settings/settings.xml /settings/config.toml; echo "$GOPROXY" >&2; echo "$CARGO_REGISTRIES_OWN_TOKEN"
    echo 'p@ss word-6'; echo ${Buffer.from("user:of-proxy-5").toString("base64")}; echo shown; exit 3`;
  const plain = await shellRuntime("confiding", { fetch: script });
  const step = plain.build.fetch as NonNullable<Runtime["build"]["fetch"]>;
  const environment = {
    ...step.environment,
    GOPROXY: "https://user:of-proxy-5@go.invalid,https://user:p%40ss%20word-6@more.invalid|direct",
    CARGO_REGISTRIES_OWN_TOKEN: "of-variable-7",
  };
  const mounts = [{ source: folder, target: "/settings", access: "read-only" }] as const;
  const files = ["settings.xml", "config.toml"].map(
    (name) => ({ source: join(folder, name), target: `/settings/${name}`, access: "read-only" }) as const,
  );
  for (const mounted of [files, mounts]) {
    const runtime: Runtime = { ...plain, build: { ...plain.build, fetch: { ...step, environment, mounts: mounted } } };
    await using own = await setWorkbench({ runtimes: [runtime], settings });
    const source = await own.builds.takeSource(await sourceOf({ "main.sh": "x" }));
    const { id } = await own.builds.request({ source, runtime, entrypoint: null, command: null });
    const failed = await ended(own.builds, id);
    expect(failed.text).toContain("shown");
    expect(failed.text).toContain("***");
    for (const secret of [...secrets, Buffer.from("user:of-proxy-5").toString("base64").slice(8)]) {
      expect(failed.text).not.toContain(secret);
      expect(failed.error?.message).not.toContain(secret);
    }
  }
  await rm(folder, { recursive: true });
});

test.each<[string, string, RegExp]>([
  ["a link out", "ln -s ../../../etc/passwd /artifact/l", /link that leads out.*"l"/],
  ["an absolute link", "ln -s /etc/passwd /artifact/l", /link that leads out.*"l"/],
  ["a fifo", "mkfifo /artifact/p", /neither file, folder nor link.*"p"/],
  ["too many bytes", "dd if=/dev/zero of=/artifact/z bs=1M count=9", /TREADLE_ARTIFACT_MAX_SIZE/],
  [
    "a sparse file that is far longer than it takes",
    "dd if=/dev/zero of=/artifact/z bs=1 count=1 seek=1000000000000",
    /TREADLE_ARTIFACT_MAX_SIZE|status/,
  ],
  ["nothing", "mkdir /artifact/a", /It made nothing/],
  ["a name that is not UTF-8", "printf x > \"/artifact/$(printf 'a\\377')\"", /not UTF-8/],
  ["an end by a signal", "kill -9 $$", /ended by SIGKILL|status 137/],
])("an artifact with %s fails the build", async (_what, script, message) => {
  const failed = await build(script);
  expect(failed.state, failed.text).toBe("failed");
  expect(failed.error?.message).toMatch(message);
});

test("links inside stay, setuid and the sandbox's owner go, and a deep or wide tree is packed", async () => {
  const done = await build(
    "mkdir -p /artifact/a; echo 1 > /artifact/a/f; chmod 6755 /artifact/a/f; ln /artifact/a/f /artifact/hard; ln -s a/f /artifact/soft; d=/artifact; for i in $(seq 1 50); do d=$d/d; done; mkdir -p $d; touch $d/leaf; chmod 0 /artifact/a; for i in $(seq 1 500); do echo $i > /artifact/$i; done",
  );
  expect(done.state, done.text).toBe("ready");
  const { code } = await bench.builds.artifact(done.id);
  expect(await readFile(join(code, "soft"), "utf8")).toBe("1\n");
  const { mode, uid, nlink } = await stat(join(code, "a/f"));
  expect([mode & 0o7777, uid, nlink]).toEqual([0o555, process.getuid?.(), 1]);
  expect(await readFile(join(code, `${"d/".repeat(50)}leaf`), "utf8")).toBe("");
});

test("a step cannot put a host folder in the place of its own", async () => {
  const victim = await mkdtemp(join(tmpdir(), "treadle-victim-"));
  await writeFile(join(victim, "secret"), "secret");
  const failed = await build(`rm -rf /artifact/*; rmdir /artifact; ln -s ${victim} /artifact; ln -sfn ${victim} /source/a; echo`);
  expect(failed.state).toBe("failed");
  expect(await readFile(join(victim, "secret"), "utf8")).toBe("secret");
  await rm(victim, { recursive: true });
});

test("a million lines and one endless line cost the server little", async () => {
  const before = process.memoryUsage().rss;
  const done = await build("yes | head -c 100000000; head -c 300000000 /dev/zero | tr '\\0' x; echo; echo 1 > /artifact/a");
  expect(done.state, done.text.slice(-300)).toBe("ready");
  expect(done.text.length).toBeLessThan(11 * MEBIBYTE);
  expect(process.memoryUsage().rss - before).toBeLessThan(200 * MEBIBYTE);
});
