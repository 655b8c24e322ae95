import { spawn } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";

/** The path of a program, looked for as a shell would; null when there is none. */
export function findProgram(name, searchPath = `${process.env.PATH ?? ""}${delimiter}/usr/bin${delimiter}/usr/sbin`) {
  for (const folder of searchPath.split(delimiter)) {
    if (folder === "") continue;
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      if (statSync(path).isFile()) return path;
    } catch {
      // Not here; the next folder may have it.
    }
  }
  return null;
}

/**
 * Runs a program to its end, what it prints going to the terminal.
 * With `quiet` its output is kept and handed back, so that a failed attempt with a fallback leaves no noise.
 *
 * @returns {Promise<{ ok: boolean, output: string }>}
 */
export function run(command, { cwd, env = process.env, quiet = false } = {}) {
  const [program, ...args] = command;
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd,
      env,
      stdio: quiet ? ["ignore", "pipe", "pipe"] : ["ignore", "inherit", "inherit"],
    });
    let output = "";
    child.stdout?.on("data", (chunk) => {
      output += chunk;
    });
    child.stderr?.on("data", (chunk) => {
      output += chunk;
    });
    child.on("error", (error) => resolve({ ok: false, output: `${program}: ${error.message}` }));
    child.on("close", (code) => resolve({ ok: code === 0, output }));
  });
}
