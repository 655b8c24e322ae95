import { createHash } from "node:crypto";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { root } from "./layout.mjs";
import { npmProgram } from "./npm-program.mjs";
import { run } from "./programs.mjs";

/** What package-lock.json says of a package: exact version and hash. */
export function lockedPackage(name) {
  const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
  const entry = lock.packages[`node_modules/${name}`];
  if (!entry) throw new Error(`package-lock.json has no ${name}`);
  return entry;
}

/** Fetches a package as package-lock.json pins it: see fetchPackage. */
export async function fetchLockedPackage(name, folder, members) {
  const { version, integrity } = lockedPackage(name);
  await fetchPackage({ name, version, integrity }, folder, members);
}

/**
 * Fetches a package with the machine's npm (so by the machine's registry, proxy and certificates), checks it against its hash
 * and unpacks the named members (without their `package/` prefix) into `folder`. Runs none of its scripts.
 */
export async function fetchPackage({ name, version, integrity }, folder, members) {
  const npm = npmProgram();
  if (!npm) throw new Error("npm is not on the PATH; it comes with Node");
  console.log(`setup: fetching ${name} ${version}`);
  const packed = await run(
    [npm, "pack", `${name}@${version}`, "--pack-destination", folder, "--ignore-scripts", "--loglevel=error"],
    {
      cwd: root,
      quiet: true,
    },
  );
  const archive = readdirSync(folder).find((entry) => entry.endsWith(".tgz"));
  if (!packed.ok || !archive) throw new Error(`npm could not fetch ${name} ${version}:\n${packed.output.trim()}`);
  const path = join(folder, archive);
  const [algorithm, expected] = integrity.split("-");
  const actual = createHash(algorithm).update(readFileSync(path)).digest("base64");
  if (actual !== expected) throw new Error(`${name} ${version} as served by the registry has another hash than the one expected`);
  const unpacked = await run(["tar", "-xzf", path, "-C", folder, "--no-same-owner", "--strip-components=1", ...members], {
    quiet: true,
  });
  if (!unpacked.ok) throw new Error(`${name} could not be unpacked: ${unpacked.output.trim()}`);
  rmSync(path);
}
