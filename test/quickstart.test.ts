import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";

const SERVER = new URL("../scripts/quickstart/server.mjs", import.meta.url);
const DEMONSTRATION = new URL("../scripts/quickstart/demonstration.mjs", import.meta.url);

// What `npm run quickstart -- --once` does after the set-up; the set-up itself would replace packages under the tests beside this one.
const PROGRAM = `
  import { startServer } from ${JSON.stringify(SERVER.href)};
  import { demonstrate } from ${JSON.stringify(DEMONSTRATION.href)};
  const server = await startServer(process.execPath, "127.0.0.1", "0");
  await demonstrate(server.address);
  process.exitCode = (await server.stop("SIGTERM")) ? 0 : 1;`;

test("the quickstart shows a sandboxed call and ends well", { timeout: 120_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "treadle-quickstart-"));
  try {
    const child = spawn(process.execPath, ["--input-type=module", "--eval", PROGRAM], {
      env: { ...process.env, FUNCTIONS_STORAGE_FILESYSTEM_DIRPATH: join(folder, "data") },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk) => {
        output += chunk;
      });
    }
    const status = await new Promise((resolve) => child.once("close", resolve));
    expect(output).toContain('"result":"Hello world"');
    expect(status, output).toBe(0);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
