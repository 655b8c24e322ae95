// Started by lifecycle.test.ts: a host with live sandboxes, to be killed. Arguments: state directory, marker.
import { createBubblewrapDriver } from "../src/index.ts";
import { PYTHON, start } from "./programs.ts";

const [stateDirectory, marker] = process.argv.slice(2) as [string, string];
const driver = await createBubblewrapDriver({ stateDirectory, warn: () => {} });
const code = `import os, time
if os.fork() == 0: os.setsid()
print("up", flush=True)
time.sleep(600) # ${marker}`;
for (let i = 0; i < 5; i++) {
  const sandbox = await start(driver, [PYTHON, "-c", code], { egress: i === 0 ? { allow: null, trusted: [] } : null });
  await new Promise((resolve) => sandbox.stdout.once("data", resolve));
}
console.log("ready");
setInterval(() => {}, 1000);
