import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const PROGRAM = fileURLToPath(new URL("../scripts/quickstart.mjs", import.meta.url));

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

test("`npm run quickstart -- --once` shows a sandboxed call and ends well", { timeout: 120_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "treadle-quickstart-"));
  const port = await freePort();
  try {
    const child = spawn(process.execPath, [PROGRAM, "--once"], {
      env: { ...process.env, PORT: String(port), FUNCTIONS_STORAGE_FILESYSTEM_DIRPATH: join(folder, "data") },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    child.stdout.on("data", (chunk) => {
      output += chunk;
    });
    child.stderr.on("data", (chunk) => {
      output += chunk;
    });
    const status = await new Promise((resolve) => child.once("close", resolve));
    expect(output).toContain('"result":"Hello world"');
    expect(output).toContain(`:${port}`);
    expect(status, output).toBe(0);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
