import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type CliServer, startCliServer } from "./cli-server.ts";
import { ROOT } from "./docs-pages.ts";

const KEY = "0123456789abcdef0123456789abcdef";
const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const MEBIBYTE = 1024 * 1024;

let folder: string;
let origin: Server;
let server: CliServer;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "treadle-file-test-"));
  origin = createServer((request, response) => {
    if (request.url !== "/data.csv") response.writeHead(404).end();
    else response.writeHead(200, { "content-type": "text/csv", "content-length": "8" }).end("a,b\n1,2\n");
  }).listen(0, "127.0.0.1");
  await once(origin, "listening");
  server = await startCliServer({
    TREADLE_ADMIN_KEY: KEY,
    TREADLE_PREWARMED: "0",
    TREADLE_IMPORT_TRUSTED: new URL(originUrl()).host,
    XDG_STATE_HOME: join(folder, "state"),
  });
}, 60_000);
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  origin?.close();
  await rm(folder, { recursive: true, force: true });
});

function originUrl(): string {
  return `http://127.0.0.1:${(origin.address() as AddressInfo).port}`;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** A file of this content in the test's folder. */
async function local(name: string, bytes: Uint8Array | string): Promise<string> {
  await writeFile(join(folder, name), bytes);
  return join(folder, name);
}

interface Stored {
  readonly id: string;
  readonly name: string;
  readonly size: number;
  readonly sha256: string;
  readonly mimeType: string;
  readonly public: boolean;
}

/** `treadle file ...` in the test's folder, which must go well; its output line by line as JSON. */
async function json<T = Stored>(...args: string[]): Promise<T[]> {
  const { status, stdout, stderr } = await server.treadleWith({ cwd: folder }, "file", ...args, "--json");
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as T);
}

async function refused(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await server.treadleWith({ cwd: folder }, "file", ...args);
  expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
  return stderr;
}

test("files of every size come back as they went, in one request and by tus", async () => {
  const contents = { empty: 0, small: 1000, "just one request": 8 * MEBIBYTE, "several.csv": 9 * MEBIBYTE + 1 };
  for (const [name, size] of Object.entries(contents)) {
    const bytes = randomBytes(size);
    const [stored] = await json("put", await local(name, bytes), "-w", "sizes");
    expect(stored).toMatchObject({ id: expect.stringMatching(ID), name, size, sha256: sha256(bytes), public: false });
    await json("get", stored?.id ?? "", "-w", "sizes", "-o", "back", "--force");
    expect(readFileSync(join(folder, "back")).equals(bytes)).toBe(true);
  }
  const listed = await json("ls", "-w", "sizes");
  expect(listed.map(({ name }) => name)).toEqual(Object.keys(contents));
  expect(listed.map(({ mimeType }) => mimeType).at(-1)).toBe("text/csv");
  // Nothing is remembered of uploads that are over, and no part is left.
  expect(readdirSync(join(folder, "state"), { recursive: true }).filter((name) => String(name).endsWith(".json"))).toEqual([]);
  expect(readdirSync(folder).filter((name) => name.endsWith(".part"))).toEqual([]);
}, 60_000);

test("what is said of a file arrives, whichever way it is sent", async () => {
  for (const size of [10, 9 * MEBIBYTE]) {
    const path = await local("plain", randomBytes(size));
    const name = `Grüße, "100 %" & ${size}.bin`;
    const [stored] = await json(
      "put",
      path,
      "-w",
      "said",
      "--name",
      name,
      "--type",
      "application/x-test",
      "--description",
      "drüben",
      "--public",
    );
    expect(stored).toMatchObject({ name, mimeType: "application/x-test", description: "drüben", public: true });
    const [found] = await json("ls", "-w", "said", "--prefix", `Grüße, "100 %" & ${size}`);
    expect(found).toEqual(stored);
  }
});

test("people get lines: what was stored, what there is, where it went, what was removed", async () => {
  const path = await local("lines.txt", "hello");
  const digest = sha256(Buffer.from("hello"));
  const run = (...args: string[]) => server.treadleWith({ cwd: folder }, "file", ...args);
  const put = await run("put", path, path, "-w", "lines");
  expect(put.stdout).toMatch(new RegExp(`^(\\S{36} {7}5 B  ${digest}  lines.txt\\n){2}$`));
  const list = await run("ls", "-w", "lines");
  expect(list.stdout).toMatch(/^(\S{36} {7}5 B {2}\d{4}-\d\d-\d\d \d\d:\d\d {10}lines.txt\n){2}$/);
  await mkdir(join(folder, "into"));
  expect((await run("get", "lines.txt", "-w", "lines", "-o", "into")).stdout).toBe(`${join(folder, "into", "lines.txt")}\n`);
  expect(readFileSync(join(folder, "into", "lines.txt"), "utf8")).toBe("hello");
  expect((await run("get", "lines.txt", "-w", "lines", "-o", "-")).stdout).toBe("hello");
  const ids = list.stdout.split("\n").map((line) => line.slice(0, 36));
  // A name means the newest of that name.
  expect((await run("rm", "lines.txt", "-w", "lines")).stdout).toBe(`removed ${ids[1]}  lines.txt\n`);
  expect((await run("rm", ids[0] ?? "", "-w", "lines")).stdout).toBe(`removed ${ids[0]}  lines.txt\n`);
  expect((await run("ls", "-w", "lines")).stdout).toBe("");
});

test("stdin is stored under the name that is given", async () => {
  const input = "ä".repeat(100_000);
  const { status, stdout } = await server.treadleWith(
    { input },
    "file",
    "put",
    "-",
    "--name",
    "piped.txt",
    "-w",
    "stdin",
    "--json",
  );
  expect(status).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    name: "piped.txt",
    size: 200_000,
    sha256: sha256(Buffer.from(input)),
    mimeType: "text/plain",
  });
  expect(await refused("put", "-", "-w", "stdin")).toContain("give --name");
});

test("ls gives all pages and finds by the digest", async () => {
  const paths = await Promise.all(Array.from({ length: 12 }, (_, i) => local(`page${i % 10}-${i}`, `content ${i}`)));
  await json("put", ...paths, "-w", "pages");
  expect(await json("ls", "-w", "pages")).toHaveLength(12);
  expect((await json("ls", "-w", "pages", "--prefix", "page1-")).map(({ name }) => name)).toEqual(["page1-1", "page1-11"]);
  const [only] = await json("ls", "-w", "pages", "--sha256", sha256(Buffer.from("content 7")));
  expect(only?.name).toBe("page7-7");
});

test("a link gives the bytes without the key, as long as it works", async () => {
  const [stored] = await json("put", await local("linked.txt", "linked"), "-w", "links");
  const { stdout } = await server.treadle("file", "link", "linked.txt", "-w", "links", "--expires", "1h");
  const response = await fetch(stdout.trim());
  expect([response.status, await response.text()]).toEqual([200, "linked"]);
  const [link] = await json<{ url: string; expiresAt: number }>("link", stored?.id ?? "", "-w", "links", "--expires", "90s");
  expect(Math.abs((link?.expiresAt ?? 0) - Date.now() - 90_000)).toBeLessThan(20_000);
  expect(await refused("link", "linked.txt", "-w", "links", "--expires", "soon")).toContain("--expires soon: give a span");
  expect(await refused("link", "linked.txt", "-w", "links", "--expires", "400d")).toContain("BAD_REQUEST");
});

test("import waits for the file, and tells why it does not come", async () => {
  const [stored] = await json("import", `${originUrl()}/data.csv`, "-w", "imports");
  expect(stored).toMatchObject({ name: "data.csv", mimeType: "text/csv", size: 8, sha256: sha256(Buffer.from("a,b\n1,2\n")) });
  const [named] = await json(
    "import",
    `${originUrl()}/data.csv`,
    "-w",
    "imports",
    "--name",
    "other",
    "--sha256",
    stored?.sha256 ?? "",
  );
  expect(named?.name).toBe("other");
  expect(await refused("import", `${originUrl()}/none`, "-w", "imports")).toMatch(/^treadle: IMPORT_FAILED: .*404/);
  expect(await refused("import", `${originUrl()}/data.csv`, "-w", "imports", "--sha256", "0".repeat(64))).toContain(
    "CHECKSUM_MISMATCH",
  );
  expect(await refused("import", "http://127.0.0.1:9/x", "-w", "imports")).toMatch(/^treadle: (IMPORT_FAILED|BAD_REQUEST): /);
  const [begun] = await json<{ id: string; state: string }>("import", `${originUrl()}/data.csv`, "-w", "imports", "--detach");
  expect(begun?.state).toMatch(/^(queued|running|succeeded)$/);
}, 60_000);

test("get overwrites only when told to, and leaves what is there until the new file is whole", async () => {
  await json("put", await local("mine.txt", "theirs"), "-w", "overwrite");
  await local("mine.txt", "mine");
  expect(await refused("get", "mine.txt", "-w", "overwrite")).toBe(
    `treadle: BAD_REQUEST: ${join(folder, "mine.txt")} is there already: say another place with -o, or --force.\n  Compare the request with the reference page of the route; the message names the field.\n`,
  );
  expect(readFileSync(join(folder, "mine.txt"), "utf8")).toBe("mine");
  const [got] = await json<{ path: string }>("get", "mine.txt", "-w", "overwrite", "--force");
  expect(readFileSync(got?.path ?? "", "utf8")).toBe("theirs");
});

test("names that are hostile to a folder or a terminal do no harm", async () => {
  const at = `${server.url}/api/v1/workspaces/hostile/files`;
  const put = (name: string) =>
    fetch(`${at}?${new URLSearchParams({ name })}`, { method: "POST", headers: { authorization: `Bearer ${KEY}` }, body: "x" });
  for (const name of ["a/../../b", "\u001b[2J", "a\nb"]) expect((await put(name)).status).toBe(400);
  const taken: string[] = [];
  for (const name of ["..", "back\\slash", "\u202etxt.exe", "\u2028line"]) if ((await put(name)).status === 201) taken.push(name);
  for (const name of taken) {
    const { stdout } = await server.treadle("file", "ls", "-w", "hostile", "--prefix", name);
    for (const character of "\u001b\u202e\u2028") expect(stdout).not.toContain(character);
    expect(stdout.split("\n")).toHaveLength(2);
  }
  for (const name of taken.filter((each) => /^\.\.$|\\/.test(each)))
    expect(await refused("get", name, "-w", "hostile")).toContain("is no name for a file here");
});

test("bytes that are not those of the digest are noticed, and nothing of them is kept", async () => {
  const bytes = randomBytes(3 * MEBIBYTE);
  const [stored] = await json("put", await local("damaged", bytes), "-w", "damage");
  const digest = stored?.sha256 ?? "";
  const [kept] = readdirSync(join(server.dataDirectory, "files"), { recursive: true, withFileTypes: true }).filter(
    (entry) =>
      entry.isFile() &&
      join(entry.parentPath, entry.name)
        .replaceAll(/[^0-9a-f]/g, "")
        .endsWith(digest),
  );
  const path = join(kept?.parentPath ?? "", kept?.name ?? "");
  await rm(path);
  await writeFile(
    path,
    Buffer.concat([bytes.subarray(0, MEBIBYTE), Buffer.from("not what was stored"), bytes.subarray(MEBIBYTE + 19)]),
  );
  expect(await refused("get", "damaged", "-w", "damage", "-o", "x")).toContain("CHECKSUM_MISMATCH");
  const stdout = await server.treadle("file", "get", "damaged", "-w", "damage", "-o", "-");
  expect(stdout.status).toBe(1);
  expect(stdout.stderr).toContain("CHECKSUM_MISMATCH");
  await truncate(path, MEBIBYTE);
  expect(await refused("get", "damaged", "-w", "damage", "-o", "x")).toMatch(/CHECKSUM_MISMATCH|FILE_DAMAGED|SERVER_UNREACHABLE/);
  expect(existsSync(join(folder, "x"))).toBe(false);
  // Putting the same bytes mends it.
  await json("put", await local("again", bytes), "-w", "damage");
  await json("get", "damaged", "-w", "damage", "-o", "x");
  expect(readFileSync(join(folder, "x")).equals(bytes)).toBe(true);
}, 180_000);

test("what cannot be: wrong key, no server, unknown workspace and file, no file here, nothing named", async () => {
  const small = await local("refused", "x");
  const large = await local("refused-large", randomBytes(9 * MEBIBYTE));
  for (const path of [small, large]) {
    expect(await refused("put", path, "-w", "w", "--key", "k".repeat(32))).toMatch(/^treadle: UNAUTHORIZED: /);
    const began = performance.now();
    expect(await refused("put", path, "-w", "w", "--server", "http://127.0.0.1:9")).toMatch(
      /^treadle: SERVER_UNREACHABLE: http:\/\/127.0.0.1:9 does not answer/,
    );
    expect(performance.now() - began).toBeLessThan(5_000);
    expect(await refused("put", path, "-w", "w", "--name", "a/b")).toMatch(/^treadle: BAD_REQUEST: /);
  }
  expect(await refused("ls", "-w", "nobody")).toMatch(/^treadle: UNKNOWN_WORKSPACE: /);
  expect(await refused("get", "none", "-w", "nobody")).toMatch(/^treadle: UNKNOWN_WORKSPACE: /);
  await json("put", small, "-w", "some");
  expect(await refused("get", "none", "-w", "some")).toMatch(/^treadle: UNKNOWN_FILE: /);
  expect(await refused("rm", "01999999-0000-7000-8000-000000000000", "-w", "some")).toMatch(/^treadle: UNKNOWN_FILE: /);
  expect(await refused("put", join(folder, "missing"), "-w", "some")).toContain("missing cannot be read: ENOENT");
  expect(await refused("put", folder, "-w", "some")).toContain("is not a file");
  expect(await refused("get", "refused", "-w", "some", "-o", join(folder, "none", "x"))).toContain("cannot be written: ENOENT");
  expect(await refused("put", small)).toContain("required option '-w, --workspace <name>' not specified");
  expect(JSON.parse(await refused("ls", "-w", "nobody", "--json"))).toMatchObject({ error: { code: "UNKNOWN_WORKSPACE" } });
  expect((await server.treadle("file", "--help")).stdout).toMatch(/^ {2}put .*\n/m);
}, 60_000);

test("progress is drawn on a terminal, and elsewhere only when asked for", async () => {
  const path = await local("shown", randomBytes(20 * MEBIBYTE));
  const quiet = await server.treadle("file", "put", path, "-w", "progress");
  expect(quiet.stderr).toBe("");
  const asked = await server.treadle("file", "put", path, "-w", "progress", "--progress");
  expect(asked.stderr).toMatch(/^[\d.]+ \S?B of 21.0 MB {2}\d+ % .*shown$/m);
  const terminal = await onTerminal(["file", "put", path, "-w", "progress"]);
  expect(terminal).toContain("\r\u001b[K");
  expect(terminal).toMatch(/of 21.0 MB {2}\d+ %/);
  expect(await onTerminal(["file", "put", path, "-w", "progress", "--no-progress"])).not.toContain("%");
}, 60_000);

/** What a run prints on a terminal, stdout and stderr together. */
async function onTerminal(args: readonly string[]): Promise<string> {
  const treadle = join(ROOT, "bin", "treadle");
  const child = spawn("script", ["-qec", [treadle, ...args].map((arg) => `'${arg}'`).join(" "), "/dev/null"], {
    env: { ...process.env, TREADLE_SERVER: server.url, TREADLE_ADMIN_KEY: KEY, XDG_STATE_HOME: join(folder, "state") },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  expect(await once(child, "close")).toEqual([0, null]);
  return output;
}
