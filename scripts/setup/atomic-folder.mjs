import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { tools } from "./layout.mjs";

const TEMPORARY = ".incomplete-";

/**
 * Makes `.tools/<name>` by letting `fill` write into a temporary folder that is renamed when complete, so that an
 * interrupted set-up leaves nothing that looks finished. Does nothing when the folder is already there.
 */
export async function makeFolder(name, fill) {
  const target = join(tools, name);
  if (existsSync(target)) return target;
  mkdirSync(tools, { recursive: true });
  const temporary = mkdtempSync(join(tools, `${TEMPORARY}${name}-`));
  try {
    await fill(temporary);
    // mkdtemp keeps others out, but the sandboxes' own user must read what is here.
    chmodSync(temporary, 0o755);
    renameSync(temporary, target);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  return target;
}

/** Removes what an interrupted set-up left. Only one set-up runs at a time, so nothing here is in use. */
export function sweepIncomplete() {
  if (!existsSync(tools)) return;
  for (const entry of readdirSync(tools)) {
    if (entry.startsWith(TEMPORARY)) rmSync(join(tools, entry), { recursive: true, force: true });
  }
}
