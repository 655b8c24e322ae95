import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { root, tools } from "./layout.mjs";
import { findProgram } from "./programs.mjs";

/**
 * Brings the machine to where Treadle runs and returns the path of Node 24. Quick when nothing is to be done. A second one at the
 * same time waits for the first: the lock is the kernel's, so it is gone with the process that held it, however that ended.
 */
export async function prepare() {
  mkdirSync(tools, { recursive: true });
  const main = [process.execPath, join(root, "scripts", "setup", "main.mjs")];
  const flock = findProgram("flock");
  const [program, ...args] = flock ? [flock, "--exclusive", join(tools, "setup.lock"), ...main] : main;
  const child = spawn(program, args, { stdio: ["ignore", "inherit", "inherit", "pipe"] });
  let node = "";
  child.stdio[3].on("data", (chunk) => {
    node += chunk;
  });
  const code = await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  if (code !== 0 || node === "") process.exit(1);
  return node;
}
