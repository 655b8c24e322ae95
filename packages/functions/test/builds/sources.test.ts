import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { SourceInput } from "../../src/builds/builds.ts";
import { sourceOf, type TestEntry, tarGzOf, tarOf, upload, zipOf } from "./archives.ts";
import { failure, setWorkbench, type Workbench } from "./workbench.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let bench: Workbench;
beforeAll(async () => {
  bench = await setWorkbench({ settings: { sourceMaxBytes: 8 * 1024 * 1024, sourceMaxFiles: 200 } });
});
afterAll(async () => {
  expect(await bench.leftovers()).toEqual([]);
  expect(bench.warnings).toEqual([]);
  await bench[Symbol.asyncDispose]();
});

const take = (input: SourceInput) => bench.builds.takeSource(input);
const refusal = async (entries: readonly TestEntry[]) => failure(take(upload(await tarGzOf(entries))));
const file = (name: string, text = "x") => ({ name, text });

const TREE: readonly TestEntry[] = [
  { name: "app/", type: "directory" },
  file("app/main.js", "main"),
  { name: "app/run.sh", text: "#!/bin/sh", mode: 0o4755 },
  file("treadle.yaml", "language: node\n"),
  { name: "app/link", type: "symlink", linkname: "../treadle.yaml" },
];

test("the same tree has the same digest and the same bytes in storage, whatever archive it comes in", async () => {
  const fromTarGz = await take(upload(await tarGzOf(TREE)));
  expect(fromTarGz).toMatchObject({
    files: 3,
    bytes: 4 + 9 + 15,
    topLevel: ["app", "treadle.yaml"],
    treadleYaml: "language: node\n",
  });
  expect(await take(upload(await tarOf([...TREE].reverse())))).toEqual(fromTarGz);
  const zip = zipOf([
    file("app/main.js", "main"),
    { name: "app/run.sh", text: "#!/bin/sh", unixMode: 0o104755 },
    file("treadle.yaml", "language: node\n"),
    { name: "app/link", text: "../treadle.yaml", unixMode: 0o120777 },
  ]);
  expect(await take(upload(zip))).toEqual(fromTarGz);
  const inFolder = TREE.map((entry) => ({ ...entry, name: `./owner-name-1234/${entry.name}` }));
  expect(await take(upload(await tarGzOf([...inFolder, file("other/beside.txt")]), "owner-name-1234/"))).toEqual(fromTarGz);
  const kept = await take(upload(await tarGzOf(inFolder)));
  expect(kept).toMatchObject({ topLevel: ["owner-name-1234"], treadleYaml: null });
  expect(kept.digest).not.toBe(fromTarGz.digest);
  const changed = TREE.map((entry) => (entry.name === "app/main.js" ? { ...entry, mode: 0o755 } : entry));
  expect((await take(upload(await tarGzOf(changed)))).digest).not.toBe(fromTarGz.digest);
});

test("a source's files are listed and read again, and it is its own artifact when nothing is to be built", async () => {
  const source = await take(upload(await tarGzOf(TREE.filter(({ name }) => name !== "treadle.yaml" && name !== "app/link"))));
  const { id } = await bench.builds.request({ source, runtime: bench.node, entrypoint: "app/main.js", command: null });
  expect(await bench.builds.ended(id)).toMatchObject({
    state: "ready",
    layers: [{ kind: "code", sha256: source.sha256, bytes: 13 }],
  });
  const entries = await bench.builds.sourceEntries(id);
  expect(entries.map(({ path, bytes, executable }) => [path, bytes, executable])).toEqual([
    ["app/main.js", 4, false],
    ["app/run.sh", 9, true],
  ]);
  const contents = await bench.builds.sourceContents(id, new Set(["app/main.js", "app/run.sh", "none"]), 5);
  expect([...contents].map(([path, bytes]) => [path, bytes.toString()])).toEqual([["app/main.js", "main"]]);
  const { code } = await bench.builds.artifact(id);
  expect(await readFile(join(code, "app/main.js"), "utf8")).toBe("main");
});

test.each<[string, readonly TestEntry[], string]>([
  ["a path that climbs", [file("a"), file("../evil")], "../evil"],
  ["a path that climbs and comes back", [file("a/../../archive/evil")], "a/../../archive/evil"],
  ["an absolute path", [file("/etc/passwd")], "/etc/passwd"],
  ["a Windows path", [file("C:/evil")], "C:/evil"],
  ["a backslash", [file("..\\evil")], "..\\\\evil"],
  ["a control character", [file("a\nb")], "a\\nb"],
  ["a long name", [file("n".repeat(300))], "nnnn"],
  ["a deep path", [file(`${"d/".repeat(70)}f`)], "d/d/d"],
  ["a device", [file("a"), { name: "null", type: "character-device" }], "null"],
  ["a disk", [file("a"), { name: "sda", type: "block-device" }], "sda"],
  ["a fifo", [file("a"), { name: "pipe", type: "fifo" }], "pipe"],
  ["a link that leads out", [file("a"), { name: "l", type: "symlink", linkname: "../../etc/passwd" }], '"l"'],
  ["an absolute link", [file("a"), { name: "l", type: "symlink", linkname: "/etc/passwd" }], '"l"'],
  ["a link to nothing", [file("a"), { name: "l", type: "symlink", linkname: "b" }], '"l"'],
  [
    "a link to itself through another",
    [file("a/b"), { name: "l", type: "symlink", linkname: "a" }, { name: "m", type: "symlink", linkname: "l/../.." }],
    '"m"',
  ],
  [
    "a link that climbs through a link",
    [
      file("d/e/f"),
      { name: "d/e/up", type: "symlink", linkname: "../.." },
      { name: "m", type: "symlink", linkname: "d/e/up/../x" },
    ],
    '"m"',
  ],
  ["a file below a link", [file("a/b"), { name: "l", type: "symlink", linkname: "a" }, file("l/c")], "l/c"],
  ["a link in the place of a folder", [file("a/b"), { name: "a", type: "symlink", linkname: ".." }], '"a"'],
  ["a hard link out", [file("a"), { name: "l", type: "link", linkname: "/etc/passwd" }], "/etc/passwd"],
  ["a hard link that climbs", [file("a"), { name: "l", type: "link", linkname: "../secret" }], "../secret"],
  ["a hard link to nothing", [file("a"), { name: "l", type: "link", linkname: "b" }], '"l"'],
  ["a name twice", [file("a", "1"), file("a", "2")], '"a"'],
  ["a name twice in another spelling", [file("a/b", "1"), file("a//./b", "2")], '"a//./b"'],
  ["a file below a file", [file("a"), file("a/b")], "a/b"],
  ["a file in the place of a folder", [file("a/b"), file("a")], '"a"'],
  ["names that differ in case", [file("Makefile"), file("makefile")], "makefile"],
  ["folders that differ in Unicode form", [file("\u00e9/a"), file("e\u0301/b")], "b"],
  ["a sparse file", [{ ...file("a"), pax: { "GNU.sparse.major": "1", "GNU.sparse.realsize": "1099511627776" } }], '"a"'],
  ["nothing", [], "no files"],
  ["folders alone", [{ name: "a/", type: "directory" }], "no files"],
])("%s is refused by name", async (_what, entries, named) => {
  expect(await refusal(entries)).toMatchObject({ code: "BAD_ARCHIVE", message: expect.stringContaining(named) });
});

test("a NUL in a pax path, a bad checksum, and half an archive are refused", async () => {
  const nul = await refusal([{ ...file("a"), pax: { path: "a\0../../b" } }]);
  expect(nul).toMatchObject({ code: "BAD_ARCHIVE" });
  const whole = await tarOf([file("a", "x".repeat(5000))]);
  expect((await failure(take(upload(whole.subarray(0, 3000))))).code).toBe("BAD_ARCHIVE");
  const packed = await tarGzOf([file("a", "some text that is long enough to be packed ".repeat(50))]);
  expect((await failure(take(upload(packed.subarray(0, packed.length - 20))))).code).toBe("BAD_ARCHIVE");
  const flipped = Buffer.from(packed);
  flipped[packed.length - 6] = (flipped[packed.length - 6] ?? 0) ^ 0xff;
  expect((await failure(take(upload(flipped)))).code).toBe("BAD_ARCHIVE");
  for (const bytes of [Buffer.alloc(0), Buffer.from("not an archive"), Buffer.alloc(2048), gzipSync("no tar in here")]) {
    expect((await failure(take(upload(bytes)))).code).toBe("BAD_ARCHIVE");
  }
});

test.each<[string, Parameters<typeof zipOf>[0], string]>([
  ["a path that climbs", [file("../evil")], "../evil"],
  ["an absolute path", [file("/evil")], "/evil"],
  ["a backslash", [file("a\\b")], "a\\b"],
  ["a device", [{ ...file("dev"), unixMode: 0o020666 }], "dev"],
  ["a link out", [file("a"), { name: "l", text: "../../etc", unixMode: 0o120777 }], '"l"'],
  ["more bytes than it says", [{ ...file("a", "x".repeat(9000)), size: 10 }], "too many bytes"],
  ["fewer bytes than it says", [{ ...file("a", "x"), size: 10 }], "not enough bytes"],
  ["other bytes than it says", [{ ...file("a"), crc: 1 }], '"a"'],
  ["a lock", [{ ...file("a"), flags: 0x801 }], '"a"'],
])("a zip with %s is refused", async (_what, entries, named) => {
  expect(await failure(take(upload(zipOf(entries))))).toMatchObject({
    code: "BAD_ARCHIVE",
    message: expect.stringContaining(named),
  });
});

test("a zip whose end is cut off, or whose directory lies elsewhere, is refused", async () => {
  const zip = zipOf([file("a", "x".repeat(1000))]);
  expect((await failure(take(upload(zip.subarray(0, zip.length - 30))))).code).toBe("BAD_ARCHIVE");
  const moved = Buffer.from(zip);
  moved.writeUInt32LE(0x7fffffff, moved.length - 6);
  expect((await failure(take(upload(moved)))).code).toBe("BAD_ARCHIVE");
});

test("bombs are stopped while they unpack, and what is announced before", async () => {
  const bomb = gzipSync(await tarOf([file("zeros", "\0".repeat(20 * 1024 * 1024))]));
  expect(bomb.length).toBeLessThan(100_000);
  expect(await failure(take(upload(bomb)))).toMatchObject({ code: "SOURCE_TOO_LARGE", details: { maxBytes: 8 * 1024 * 1024 } });
  // Beside the folder that is wanted it is no less of a bomb.
  const beside = await tarGzOf([file("app/a"), file("big", "\0".repeat(20 * 1024 * 1024))]);
  expect((await failure(take(upload(beside, "app")))).code).toBe("SOURCE_TOO_LARGE");
  const tail = gzipSync(Buffer.concat([await tarOf([file("a")]), Buffer.alloc(64 * 1024 * 1024)]));
  expect((await failure(take(upload(tail)))).code).toBe("SOURCE_TOO_LARGE");
  // A zip that says little: yauzl holds it to what it says. One that says much is not even begun.
  const zip = zipOf([{ ...file("zeros", "\0".repeat(20 * 1024 * 1024)) }]);
  expect((await failure(take(upload(zip)))).code).toBe("SOURCE_TOO_LARGE");
  const links = Array.from({ length: 30 }, (_, at) => ({ name: `l${at}`, type: "link" as const, linkname: "a" }));
  expect((await refusal([file("a", "\0".repeat(1024 * 1024)), ...links])).code).toBe("SOURCE_TOO_LARGE");
});

test("a packed source that is too long is refused while it comes, and its stream is left to its owner", async () => {
  let sent = 0;
  const endless = new Readable({
    read() {
      sent += 65_536;
      this.push(Buffer.alloc(65_536, sent === 65_536 ? 0 : 7));
    },
  });
  const head = await tarOf([file("a", "x".repeat(100))]);
  endless.unshift(Buffer.concat([head.subarray(0, 1024), Buffer.from([])]));
  const { code } = await failure(take({ kind: "archive", stream: endless }));
  expect(["BAD_ARCHIVE", "SOURCE_TOO_LARGE"]).toContain(code);
  expect(sent).toBeLessThan(12 * 1024 * 1024);
  expect(endless.destroyed).toBe(false);
  endless.destroy();
});

test("an archive of 100,000 files is refused after the first 200", async () => {
  let sent = 0;
  const stream = Readable.from(
    (async function* () {
      for (; sent < 100_000; sent += 100) {
        const part = await tarOf(Array.from({ length: 100 }, (_, at) => file(`files/${sent + at}`)));
        // Without the blocks that end a tar.
        yield part.subarray(0, part.length - 1024);
      }
    })(),
  );
  expect(await failure(take({ kind: "archive", stream }))).toMatchObject({
    code: "BAD_ARCHIVE",
    message: "The archive has more than 200 files.",
  });
  expect(sent).toBeLessThan(5_000);
  stream.destroy();
  const folders = Array.from({ length: 500 }, (_, at) => ({ name: `d${at}/`, type: "directory" as const }));
  expect((await refusal([file("a"), ...folders])).code).toBe("BAD_ARCHIVE");
  const zip = zipOf(Array.from({ length: 500 }, (_, at) => file(`f${at}`)));
  expect((await failure(take(upload(zip)))).message).toBe("The archive has more than 200 files.");
});

test("a client that goes away, and one who gives up, leave nothing", async () => {
  const whole = await tarOf([file("a", "x".repeat(100_000))]);
  const broken = Readable.from(
    (async function* () {
      yield whole.subarray(0, 50_000);
      throw Object.assign(new Error("aborted"), { code: "ECONNRESET" });
    })(),
  );
  expect(await failure(take({ kind: "archive", stream: broken }))).toMatchObject({ code: "ECONNRESET" });
  const abort = new AbortController();
  const stalled = new Readable({ read() {} });
  stalled.push(whole.subarray(0, 50_000));
  const taking = failure(bench.builds.takeSource({ kind: "archive", stream: stalled }, abort.signal));
  setTimeout(() => abort.abort(new Error("given up")), 100);
  expect((await taking).message).toBe("given up");
});

test("a folder that is not there, one that climbs, and a treadle.yaml that is too long", async () => {
  const tree = await tarGzOf(TREE);
  expect((await failure(take(upload(tree, "none")))).message).toContain('no files in the folder "none"');
  expect((await failure(take(upload(tree, "../app")))).code).toBe("BAD_ARCHIVE");
  expect((await failure(take(await sourceOf({ "treadle.yaml": "x".repeat(70_000) })))).message).toContain("treadle.yaml");
  // In the part that is taken, its link leads out.
  expect((await failure(take(upload(tree, "app")))).message).toContain('"link"');
});
