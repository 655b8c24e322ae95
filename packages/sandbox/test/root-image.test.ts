import { appendFile, copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { RootImages } from "../src/root/root-image.ts";
import { ROOT } from "./programs.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "treadle-roots-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function filesOf(image: string): Promise<string[]> {
  const entries = await readdir(image, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name).slice(image.length));
}

test("an image holds the libraries of the executables and of the libraries in system directories, and no program", async () => {
  const image = await new RootImages(directory, []).prepare(ROOT);
  const files = await filesOf(image.directory);
  const library = (name: string) => files.some((file) => file.endsWith(`/${name}`));
  for (const name of ["libc.so.6", "libstdc++.so.6", "libgcc_s.so.1"]) expect([name, library(name)]).toEqual([name, true]);
  // Only Python's own modules need these.
  for (const name of ["libssl.so.3", "libffi.so.8"]) expect([name, library(name)]).toEqual([name, true]);
  expect(files.filter((file) => /\/(sh|bash|dash|su|sudo|mount|perl)$/.test(file))).toEqual([]);
  for (const file of files) {
    const { mode, size } = await stat(join(image.directory, file));
    expect(mode & 0o7022).toBe(0);
    // Places to mount on are empty; copies are libraries.
    if (size > 0 && !file.startsWith("/etc/")) expect(file).toMatch(/\.so(\.|$)/);
  }
});

test("the same spec gives the same image, also in a next life; changed inputs another; drafts are swept", async () => {
  const program = join(directory, "program");
  await copyFile("/usr/bin/true", program);
  const extra = join(directory, "extra");
  await mkdir(extra);
  const spec = { executables: [{ source: program, target: "/usr/bin/program" }], system: [extra, "/nowhere"] };
  const roots = join(directory, "roots");
  const images = new RootImages(roots, []);
  const [first, again] = await Promise.all([images.prepare(spec), images.prepare({ ...spec })]);
  expect(again).toEqual(first);
  const made = (await stat(first.directory)).mtimeMs;
  await mkdir(`${first.directory}.part-dead`);
  await writeFile(join(roots, "0000.json"), "{ half");
  const next = new RootImages(roots, []);
  await next.sweep();
  expect((await readdir(roots)).filter((name) => /part|^0000/.test(name))).toEqual([]);
  const second = await next.prepare(spec);
  expect([second.directory, (await stat(second.directory)).mtimeMs]).toEqual([first.directory, made]);

  await copyFile(process.execPath, program);
  const third = await new RootImages(roots, []).prepare(spec);
  expect(third.directory).not.toBe(first.directory);
  await new RootImages(roots, []).sweep();
  expect(await readdir(roots)).toHaveLength(2);
});

test("a program that lacks a library is refused with the library's name", async () => {
  const program = join(directory, "program");
  await copyFile("/usr/bin/true", program);
  // The same length, so that the file stays well-formed.
  const bytes = await readFile(program);
  const at = bytes.indexOf("libc.so.6\0");
  bytes.write("libq.so.6", at);
  await writeFile(program, bytes);
  await expect(
    new RootImages(directory, []).prepare({ executables: [{ source: program, target: "/p" }], system: [] }),
  ).rejects.toMatchObject({
    code: "SANDBOX_UNAVAILABLE",
    message: expect.stringContaining("libq.so.6"),
  });
  // A failure is not remembered.
  await copyFile("/usr/bin/true", program);
  await appendFile(program, "");
  await new RootImages(directory, []).prepare({ executables: [{ source: program, target: "/p" }], system: [] });
});

test("scripts and static programs need nothing", async () => {
  const script = join(directory, "script");
  await writeFile(script, "#!/usr/bin/python3\n", { mode: 0o755 });
  const image = await new RootImages(join(directory, "roots"), []).prepare({
    executables: [{ source: script, target: "/usr/bin/script" }],
    system: [],
  });
  expect((await filesOf(image.directory)).filter((file) => !file.startsWith("/etc"))).toEqual(["/usr/bin/script"]);
});
