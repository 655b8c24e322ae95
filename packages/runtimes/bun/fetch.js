// Fills the dependency layer of a Bun function: node_modules with what package.json asks for, as bun.lock says where there is one. No script
// of a package is run.

import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";

const source = process.env.TREADLE_SOURCE || "/source";
const target = process.env.TREADLE_DEPENDENCIES || "/dependencies";
const KINDS = ["dependencies", "optionalDependencies", "peerDependencies"];

const manifest = JSON.parse(readFileSync(`${source}/package.json`, "utf8"));
for (const kind of KINDS) {
  for (const [name, range] of Object.entries(manifest[kind] ?? {})) {
    if (/^(file|link|git|github|https?|workspace):|^git\+|^[\w.-]+\/[\w.-]+/.test(range)) {
      console.error(`package.json: ${name} comes from ${range}; only packages of a registry can be installed.`);
      process.exit(1);
    }
  }
}
if (KINDS.every((kind) => Object.keys(manifest[kind] ?? {}).length === 0)) process.exit(0);

copyFileSync(`${source}/package.json`, `${target}/package.json`);
const lock = ["bun.lock", "bun.lockb"].find((name) => existsSync(`${source}/${name}`));
if (lock !== undefined) copyFileSync(`${source}/${lock}`, `${target}/${lock}`);
// Hard links would point into a cache that goes away with the build.
const flags = ["--omit=dev", "--ignore-scripts", "--no-progress", "--backend=copyfile", "--cache-dir=/tmp/bun-cache"];
const { exitCode } = Bun.spawnSync(
  [process.execPath, "install", ...flags, ...(lock === undefined ? [] : ["--frozen-lockfile"])],
  {
    cwd: target,
    stdio: ["ignore", "inherit", "inherit"],
  },
);
if (exitCode !== 0) process.exit(exitCode);
const written = ["bun.lock", "bun.lockb"].find((name) => existsSync(`${target}/${name}`));
if (written !== undefined) writeFileSync(`${target}/lock`, readFileSync(`${target}/${written}`));
