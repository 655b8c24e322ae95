import { join } from "node:path";
import { makeFolder } from "./atomic-folder.mjs";
import { run } from "./programs.mjs";
import { fetchLockedPackage, lockedPackage } from "./registry-package.mjs";

/**
 * The path of a Node that runs Treadle: the one running this if it is new enough, else one fetched into `.tools`.
 * It comes before `npm ci`, because an `npm ci` under an older Node silently leaves out native packages that ask for a newer one.
 */
export async function provideNode24() {
  if (Number(process.versions.node.split(".")[0]) >= 24) return process.execPath;
  if (process.platform !== "linux" || !["x64", "arm64"].includes(process.arch)) {
    throw new Error(
      `Treadle needs Node 24; there is no package of it for ${process.platform} ${process.arch}, so install it by hand`,
    );
  }
  const name = `node-linux-${process.arch}`;
  const { version } = lockedPackage(name);
  const folder = await makeFolder(`node-${version}`, async (temporary) => {
    await fetchLockedPackage(name, temporary, ["package/bin/node", "package/LICENSE"]);
    const check = await run([join(temporary, "bin", "node"), "--version"], { quiet: true });
    if (!check.ok) throw new Error(`Node ${version} does not run on this machine: ${check.output.trim()}`);
  });
  return join(folder, "bin", "node");
}
