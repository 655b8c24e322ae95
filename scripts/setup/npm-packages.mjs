import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./layout.mjs";
import { environmentWith, npmClientFor } from "./npm-client.mjs";
import { run } from "./programs.mjs";

// Inside node_modules, so that whatever throws the packages away throws the stamp away too.
const STAMP = join(root, "node_modules", ".treadle-setup");

/** Installs the packages of package-lock.json, unless exactly these are installed already. */
export async function provideNpmPackages(node) {
  const wanted = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .update(`${process.platform} ${process.arch}`)
    .digest("hex");
  if (readStamp() === wanted) return;
  console.log("setup: installing the npm packages");
  const npm = await npmClientFor(node);
  const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--include=dev", "--include=optional", "--loglevel=error"];
  const { ok } = await run([node, npm, "ci", ...flags], { cwd: root, env: environmentWith(node) });
  if (!ok) throw new Error("npm ci failed; what it printed is above");
  writeFileSync(STAMP, wanted);
}

function readStamp() {
  try {
    return readFileSync(STAMP, "utf8");
  } catch {
    return null;
  }
}
