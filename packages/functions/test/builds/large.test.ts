import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

test.each(["tar", "gzip"])(
  "a source of 1 GB (%s) is taken in without being held in memory",
  { timeout: 400_000 },
  async (form) => {
    const program = fileURLToPath(new URL("large-source.ts", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [program, form]);
    const { bytes, growth, seconds } = JSON.parse(stdout) as { bytes: number; growth: number; seconds: number };
    console.log(`1 GB as ${form}: ${growth.toFixed(0)} MiB more memory, ${seconds.toFixed(0)} s`);
    expect(bytes).toBe(1024 ** 3);
    // What makes the bytes is in the same process and leaves garbage of its own.
    expect(growth).toBeLessThan(100);
  },
);
