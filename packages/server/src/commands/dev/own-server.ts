import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { TreadleError } from "@treadle/errors";

const TREADLE = join(import.meta.dirname, "..", "..", "..", "..", "..", "bin", "treadle");

/** A server of one's own, for as long as this command runs. */
export interface OwnServer extends AsyncDisposable {
  readonly url: string;
}

/** Starts `treadle serve` with the settings of the environment. Its log goes to stderr. @throws SERVER_UNREACHABLE when it does not come to listening */
export async function startOwnServer(): Promise<OwnServer> {
  const child = spawn(TREADLE, ["serve"], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { TREADLE_LOG_LEVEL: "warn", ...process.env },
    // An interrupt of the terminal is for us; the server is asked to stop by us.
    detached: true,
  });
  const exited = once(child, "exit");
  const url = await new Promise<string | null>((resolve) => {
    void exited.then(() => resolve(null));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const found = /^listening on (\S+)$/.exec(line)?.[1];
      if (found !== undefined) resolve(found);
    });
  });
  if (url === null)
    throw new TreadleError("SERVER_UNREACHABLE", "The server that was started for this did not come up; its words are above.");
  return {
    url,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await exited;
    },
  };
}
