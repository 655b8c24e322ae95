import { existsSync } from "node:fs";
import { join } from "node:path";
import { makeFolder } from "./atomic-folder.mjs";
import { tools } from "./layout.mjs";
import { findProgram, run } from "./programs.mjs";
import { installWithApt } from "./system-packages.mjs";

const VERSION = "0.13.9";

/** Fetches uv, which installs the dependencies of Python functions. Without it only those are impossible, so failing is a warning. */
export async function provideUv() {
  const name = `uv-${VERSION}`;
  if (existsSync(join(tools, name)) || !findProgram("python3")) return;
  try {
    await makeFolder(name, async (temporary) => {
      console.log(`setup: fetching uv ${VERSION}`);
      let reason = await installWithAnyPip(temporary);
      if (reason !== null && process.getuid() === 0 && findProgram("apt-get")) {
        await installWithApt(["python3-pip"]);
        reason = await installWithAnyPip(temporary);
      }
      if (reason !== null) throw new Error(reason);
    });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const other = findProgram("uv");
    console.error(`setup: warning: uv ${VERSION} could not be fetched (${message.trim().split("\n").at(-1)})`);
    console.error(other ? `setup: using ${other}` : "setup: dependencies of Python functions cannot be installed without it");
  }
}

/** null when uv is there afterwards, else why not. */
async function installWithAnyPip(folder) {
  const pips = [["python3", "-m", "pip"], ["/usr/bin/python3", "-m", "pip"], ["pip3"], ["pip"]];
  let reason = "there is no pip";
  for (const pip of pips) {
    if (!(await run([...pip, "--version"], { quiet: true })).ok) continue;
    const flags = [
      "--disable-pip-version-check",
      "--quiet",
      "--no-deps",
      "--only-binary",
      ":all:",
      "--upgrade",
      "--target",
      folder,
    ];
    const { ok, output } = await run([...pip, "install", ...flags, `uv==${VERSION}`], { quiet: true });
    if (ok && (await run([join(folder, "bin", "uv"), "--version"], { quiet: true })).ok) return null;
    reason = output;
  }
  return reason;
}
