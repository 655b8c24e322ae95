import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { PYTHON } from "../measure/machine.ts";

const run = promisify(execFile);
const LISTS = join(import.meta.dirname, "..", "peers");
const FOLDER = join(import.meta.dirname, "..", ".peers");
const TOOLS = join(import.meta.dirname, "..", "..", ".tools");

/** The folder in which the functions framework is installed as its lock in peers/ says; installs it when it is not. */
export function provideFunctionsFramework(): Promise<string> {
  return provide("package-lock.json", async (folder) => {
    for (const file of ["package.json", "package-lock.json"]) await copyFile(join(LISTS, file), join(folder, file));
    await run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev"], { cwd: folder });
  });
}

/** The folder that holds aiohttp and what it needs, as peers/requirements.txt says; installs them when it does not. */
export function provideAiohttp(): Promise<string> {
  return provide("requirements.txt", async (folder) => {
    const what = ["--quiet", "--no-deps", "--only-binary", ":all:", "--target", folder, "-r", join(LISTS, "requirements.txt")];
    const uv = (await readdir(TOOLS).catch(() => [])).find((name) => name.startsWith("uv-"));
    if (uv === undefined) await run(PYTHON, ["-m", "pip", "install", "--disable-pip-version-check", ...what]);
    else await run(join(TOOLS, uv, "bin", "uv"), ["pip", "install", "--python", PYTHON, ...what]);
  });
}

/** A folder filled once for each content of the file that says what belongs in it. */
async function provide(list: string, fill: (folder: string) => Promise<void>): Promise<string> {
  const digest = createHash("sha256")
    .update(await readFile(join(LISTS, list)))
    .digest("hex");
  const folder = join(FOLDER, `${list.split(".")[0]}-${digest.slice(0, 12)}`);
  if (existsSync(folder)) return folder;
  await mkdir(FOLDER, { recursive: true });
  const incomplete = await mkdtemp(join(FOLDER, "incomplete-"));
  try {
    await fill(incomplete);
    await rename(incomplete, folder);
  } finally {
    await rm(incomplete, { recursive: true, force: true });
  }
  return folder;
}
