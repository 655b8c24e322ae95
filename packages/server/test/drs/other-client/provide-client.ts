import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const REQUIREMENTS = join(import.meta.dirname, "requirements.txt");
const FOLDER = join(import.meta.dirname, ".installed");
const TOOLS = join(import.meta.dirname, "..", "..", "..", "..", "..", ".tools");
/** The distribution's Python, where there is one: others may belong to somebody's home. */
const PYTHON = existsSync("/usr/bin/python3") ? "/usr/bin/python3" : "python3";

/** How a run of the client ended. */
export interface ClientRun {
  readonly status: number;
  readonly output: string;
}

/**
 * GA4GH's command line client of DRS, which is not ours; installed as requirements.txt says when it is not there yet. Rejects when it cannot be.
 * @returns runs it with arguments
 */
export async function provideClient(): Promise<(...args: string[]) => Promise<ClientRun>> {
  const packages = await provide();
  return async (...args) => {
    const program = "from ga4gh.drs.entrypoint import main; main()";
    const env = { PATH: process.env.PATH ?? "", PYTHONPATH: packages, PYTHONWARNINGS: "ignore", LC_ALL: "C.UTF-8" };
    try {
      const { stdout, stderr } = await run(PYTHON, ["-c", program, ...args], { env, timeout: 60_000 });
      return { status: 0, output: stdout + stderr };
    } catch (error) {
      const { code, stdout = "", stderr = "" } = error as { code?: unknown; stdout?: string; stderr?: string };
      if (typeof code !== "number") throw error;
      return { status: code, output: stdout + stderr };
    }
  };
}

/** The folder for PYTHONPATH, filled once for each content of the requirements. */
async function provide(): Promise<string> {
  const digest = createHash("sha256")
    .update(await readFile(REQUIREMENTS))
    .digest("hex");
  const folder = join(FOLDER, digest.slice(0, 12));
  if (existsSync(folder)) return folder;
  await mkdir(FOLDER, { recursive: true });
  const incomplete = await mkdtemp(join(FOLDER, "incomplete-"));
  try {
    const what = ["--quiet", "--no-deps", "--only-binary", ":all:", "--target", incomplete, "-r", REQUIREMENTS];
    const fetched = (await readdir(TOOLS).catch(() => [])).find((name) => name.startsWith("uv-"));
    const uv = fetched === undefined ? "uv" : join(TOOLS, fetched, "bin", "uv");
    await run(uv, ["pip", "install", "--python", PYTHON, ...what]).catch(async (failure) => {
      if (failure.code !== "ENOENT") throw failure;
      await run(PYTHON, ["-m", "pip", "install", "--disable-pip-version-check", ...what]);
    });
    await rename(incomplete, folder);
  } finally {
    await rm(incomplete, { recursive: true, force: true });
  }
  return folder;
}
