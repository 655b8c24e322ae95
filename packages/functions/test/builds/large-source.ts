// Started by large.test.ts as a process of its own, so that its memory is that of taking a source in and nothing else. Prints, in MiB, what it needed besides what it had.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { setWorkbench } from "./workbench.ts";

const [form, fileMebibytes = "128"] = process.argv.slice(2);
const MAKER = fileURLToPath(new URL("large-tar.ts", import.meta.url));

/** A source that other processes make while it is taken in. */
async function take(mebibytes: string): Promise<number> {
  const script = `"$0" "$1" "$2"${form === "gzip" ? " | gzip -1" : ""}`;
  const maker = spawn("/bin/sh", ["-c", script, process.execPath, MAKER, mebibytes], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(maker, "exit");
  const { bytes } = await bench.builds.takeSource({ kind: "archive", stream: maker.stdout });
  await exited;
  return bytes;
}

await using bench = await setWorkbench();
// What is loaded and compiled at first use is no part of it.
await take("1");
const before = process.memoryUsage().rss;
let most = before;
const timer = setInterval(() => {
  most = Math.max(most, process.memoryUsage().rss);
}, 20);
const began = performance.now();
const bytes = await take(fileMebibytes);
clearInterval(timer);
console.log(JSON.stringify({ bytes, growth: (most - before) / 1024 / 1024, seconds: (performance.now() - began) / 1000 }));
