// Started by faults.test.ts as a process of its own: opens the builds of a folder, asks for one, says its id once its step has begun, and waits to be killed.
import { sourceOf } from "./archives.ts";
import { setWorkbench, shellRuntime } from "./workbench.ts";

const [folder = "", compile = ""] = process.argv.slice(2);
const runtime = await shellRuntime("held", { compile });
const bench = await setWorkbench({ folder, runtimes: [runtime] });
const source = await bench.builds.takeSource(await sourceOf({ "main.sh": "hello" }));
const { id } = await bench.builds.request({ source, runtime, entrypoint: null, command: null });
for await (const { text } of bench.builds.log(id)) if (text === "begun") break;
console.log(id);
process.stdin.on("end", () => void bench[Symbol.asyncDispose]()).resume();
