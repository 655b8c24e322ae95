import { existsSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { makeFolder } from "./atomic-folder.mjs";
import { root } from "./layout.mjs";
import { npmProgram } from "./npm-program.mjs";
import { run } from "./programs.mjs";
import { fetchLockedPackage, lockedPackage } from "./registry-package.mjs";

/** The file of the npm client that came with this machine's Node, to be run by any Node; null when only a wrapper is found. */
export async function findNpmClient() {
  const onPath = npmProgram();
  const candidates = [process.env.npm_execpath, onPath && realpathSync(onPath)];
  for (const candidate of candidates) {
    if (candidate && /npm-cli\.c?js$/.test(candidate) && existsSync(candidate)) return candidate;
  }
  if (!onPath) return null;
  const { ok, output } = await run([onPath, "root", "-g"], { quiet: true, cwd: root });
  const path = join(output.trim().split("\n").at(-1) ?? "", "npm", "bin", "npm-cli.js");
  return ok && existsSync(path) ? path : null;
}

/**
 * An npm client that works under the given Node. A distribution's npm may only work with the distribution's Node (Debian's finds
 * its parts in a folder only Debian's Node looks into); then the one in our lock is fetched.
 */
export async function npmClientFor(node) {
  const found = await findNpmClient();
  if (found && (await run([node, found, "--version"], { quiet: true })).ok) return found;
  const folder = await makeFolder(`npm-${lockedPackage("npm").version}`, (temporary) =>
    fetchLockedPackage("npm", temporary, ["package"]),
  );
  return join(folder, "bin", "npm-cli.js");
}

/** The environment for programs that should find the given Node first. */
export function environmentWith(node) {
  return { ...process.env, PATH: `${dirname(node)}:${process.env.PATH}` };
}
