import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { root } from "../setup/layout.mjs";
import { environmentWith } from "../setup/npm-client.mjs";

const START_SECONDS = 60;
const STOP_SECONDS = 30;

/**
 * Starts `treadle serve` and waits until it listens. The signals that would end us are passed on to it instead, once, and we end when it
 * has: `ended` resolves to whether it stopped cleanly.
 */
export async function startServer(node, host, port) {
  // setpriv has the kernel stop the server should we be killed without a chance to do it.
  const command = ["--pdeathsig", "TERM", "--", join(root, "bin", "treadle"), "serve", "--host", host, "--port", port];
  const child = spawn("setpriv", command, {
    cwd: root,
    env: environmentWith(node),
    stdio: ["ignore", "pipe", "inherit"],
    // Out of the terminal's process group: a Ctrl-C reaches it through us only, not twice.
    detached: true,
  });
  let stopping = false;
  const ended = new Promise((resolve) => {
    child.once("error", (error) => {
      console.error(`quickstart: bin/treadle does not start: ${error.message}`);
      resolve(false);
    });
    child.once("exit", (code, signal) => {
      if (!stopping)
        console.error(`quickstart: the server ended by itself (${signal ?? `status ${code}`}); its messages are above`);
      resolve(stopping && code === 0);
    });
  });
  const stop = (signal) => {
    if (!stopping) {
      stopping = true;
      child.kill(signal);
      setTimeout(() => {
        console.error(`quickstart: the server did not stop within ${STOP_SECONDS} seconds and was killed`);
        child.kill("SIGKILL");
      }, STOP_SECONDS * 1000).unref();
    }
    return ended;
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => stop(signal));

  const address = await new Promise((resolve) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      console.log(line);
      const match = /listening on (http:\/\/\S+)/.exec(line);
      if (match) resolve(match[1].replace(/\/$/, ""));
    });
    ended.then(() => resolve(null));
    setTimeout(() => resolve(null), START_SECONDS * 1000).unref();
  });
  if (address === null) {
    if (!stopping && child.exitCode === null && child.signalCode === null) {
      console.error(`quickstart: the server was not listening after ${START_SECONDS} seconds`);
    }
    await stop("SIGTERM");
    process.exit(1);
  }
  return { address, stop, ended };
}
