// The set-up itself, one process at a time; started by prepare.mjs. Prints the path of Node 24 to the file descriptor 3.
import { writeSync } from "node:fs";
import { sweepIncomplete } from "./atomic-folder.mjs";
import { provideNode24 } from "./node-24.mjs";
import { provideNpmPackages } from "./npm-packages.mjs";
import { provideSystemPackages } from "./system-packages.mjs";
import { provideUv } from "./uv.mjs";

try {
  sweepIncomplete();
  await provideSystemPackages();
  const node = await provideNode24();
  await provideNpmPackages(node);
  await provideUv();
  writeSync(3, node);
} catch (error) {
  console.error(`setup: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}
