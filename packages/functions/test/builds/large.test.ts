import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

/** 1 GB takes a minute or more each: in `npm run test:faults`. */
const FILE_MEBIBYTES = process.env.TREADLE_LARGE === undefined ? 25 : 128;
const MEBIBYTES = 8 * FILE_MEBIBYTES;

test.each(["tar", "gzip"])(
  `a source of ${MEBIBYTES} MiB (%s) is taken in without being held in memory`,
  { timeout: 400_000 },
  async (form) => {
    const program = fileURLToPath(new URL("large-source.ts", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [program, form, String(FILE_MEBIBYTES)]);
    const { bytes, growth, seconds } = JSON.parse(stdout) as { bytes: number; growth: number; seconds: number };
    console.log(`${MEBIBYTES} MiB as ${form}: ${growth.toFixed(0)} MiB more memory, ${seconds.toFixed(0)} s`);
    expect(bytes).toBe(MEBIBYTES * 1024 * 1024);
    expect(growth).toBeLessThan(60);
  },
);
