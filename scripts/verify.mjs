// `npm run verify`: sets the machine up, then checks everything that a change must not break.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { root } from "./setup/layout.mjs";
import { environmentWith } from "./setup/npm-client.mjs";
import { prepare } from "./setup/prepare.mjs";

const LONGEST_MINUTES = 24;
const deadline = Date.now() + LONGEST_MINUTES * 60_000;

const node = await prepare();
const packages = join(root, "node_modules");
const failed = [];
for (const [name, ...command] of [
  ["format and lint", join(packages, "@biomejs", "biome", "bin", "biome"), "check", "."],
  ["types", join(packages, "typescript", "bin", "tsc"), "--noEmit"],
  ["tests", join(packages, "vitest", "vitest.mjs"), "run"],
]) {
  console.log(`\nverify: ${name}`);
  if (!(await passes(name, command))) failed.push(name);
}
process.exitCode = failed.length > 0 ? 1 : 0;

/** Runs one check in a process group of its own, so that ending it ends all it started. */
function passes(name, command) {
  const env = { ...environmentWith(node), TREADLE_FAILED_CHECKS: failed.join(", ") };
  const child = spawn(node, command, { cwd: root, env, stdio: ["ignore", "inherit", "inherit"], detached: true });
  const end = (signal) => {
    try {
      process.kill(-child.pid, signal);
    } catch {
      // It has just ended by itself.
    }
  };
  const timer = setTimeout(() => {
    console.error(`\nverify: ${name} ended, because the whole run has taken ${LONGEST_MINUTES} minutes`);
    end("SIGKILL");
  }, deadline - Date.now());
  const interrupt = (signal) => {
    end(signal);
    process.exitCode = 130;
    setTimeout(() => {
      end("SIGKILL");
      process.exit(130);
    }, 5000).unref();
  };
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
  return new Promise((resolve) => {
    child.on("close", (code) => {
      clearTimeout(timer);
      process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
      if (process.exitCode === 130) process.exit(130);
      if (code !== 0) console.error(`verify: ${name}: failed`);
      resolve(code === 0);
    });
  });
}
