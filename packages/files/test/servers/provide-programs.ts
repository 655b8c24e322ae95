import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const LISTS = import.meta.dirname;
const FOLDER = join(import.meta.dirname, ".installed");
const TOOLS = join(import.meta.dirname, "..", "..", "..", "..", ".tools");
/** The distribution's Python, where there is one: others may belong to somebody's home. */
export const PYTHON = existsSync("/usr/bin/python3") ? "/usr/bin/python3" : "python3";

/** The folder with `node_modules` of the servers from npm, as package-lock.json here says; installs them when they are not there. */
export function provideNodePrograms(): Promise<string> {
  return provide("package-lock.json", async (folder) => {
    for (const file of ["package.json", "package-lock.json"]) await copyFile(join(LISTS, file), join(folder, file));
    await run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev"], { cwd: folder });
  });
}

/** A folder for PYTHONPATH with what a requirements file here lists; installs it when it is not there. */
export function providePythonPrograms(requirements: string): Promise<string> {
  return provide(requirements, async (folder) => {
    const what = ["--quiet", "--no-deps", "--only-binary", ":all:", "--target", folder, "-r", join(LISTS, requirements)];
    const fetched = (await readdir(TOOLS).catch(() => [])).find((name) => name.startsWith("uv-"));
    const uv = fetched === undefined ? "uv" : join(TOOLS, fetched, "bin", "uv");
    await run(uv, ["pip", "install", "--python", PYTHON, ...what]).catch(async (failure) => {
      if (failure.code !== "ENOENT") throw failure;
      await run(PYTHON, ["-m", "pip", "install", "--disable-pip-version-check", ...what]);
    });
  });
}

/** A folder filled once for each content of the list that says what belongs in it, also when two test files ask at the same time. */
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
    await rename(incomplete, folder).catch((failure) => {
      if (!existsSync(folder)) throw failure;
    });
  } finally {
    await rm(incomplete, { recursive: true, force: true });
  }
  return folder;
}
