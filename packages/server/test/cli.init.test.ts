import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { languageFolders } from "@treadle/runtimes";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";

const CLI = join(import.meta.dirname, "..", "src", "cli.ts");
const execute = promisify(execFile);
let place = "";

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), "treadle-init-"));
});
afterAll(() => rm(place, { recursive: true }));

async function treadle(...words: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  try {
    const { stdout, stderr } = await execute(process.execPath, [CLI, ...words], { cwd: place });
    return { status: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { status: code, stdout, stderr };
  }
}

test.each(languageFolders().map(({ language }) => language))(
  "init %s makes a folder that deploys under its own name",
  async (language) => {
    const made = await treadle("init", language, `first-${language}`, "--json");
    expect(made.stderr).toBe("");
    const { function: name, files } = JSON.parse(made.stdout) as { function: string; files: string[] };
    expect(name).toBe(`first-${language}`);
    const yaml = parse(await readFile(join(place, name, "treadle.yaml"), "utf8")) as Record<string, unknown>;
    expect(yaml).toMatchObject({ function: name, language });
    expect(files).toContain("tests/hello.yaml");
    for (const file of files) expect(existsSync(join(place, name, file))).toBe(true);
  },
);

test("init writes nothing into a folder that has something in it", async () => {
  await treadle("init", "node", "taken");
  const before = await readFile(join(place, "taken", "treadle.yaml"), "utf8");
  const again = await treadle("init", "python", "taken");
  expect(again.status).toBe(1);
  expect(again.stderr).toContain("not empty");
  expect(await readFile(join(place, "taken", "treadle.yaml"), "utf8")).toBe(before);
});

test("a language that there is not is refused with those there are", async () => {
  const refused = await treadle("init", "cobol");
  expect(refused.status).not.toBe(0);
  expect(refused.stderr).toContain("node");
});

test("completion: bash, zsh and fish get a script, and the words that fit are offered", async () => {
  for (const shell of ["bash", "zsh", "fish"]) expect((await treadle("completion", shell)).stdout).toContain("treadle");
  expect((await treadle("complete", "--", "in")).stdout).toMatch(/^init\t/m);
  expect((await treadle("complete", "--", "init", "")).stdout).toMatch(/^python\b/m);
  expect((await treadle("complete", "--", "deploy", "--ser")).stdout).toMatch(/^--server\t/m);
});
