import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

/** What one burst of load did. */
export interface Load {
  readonly requests: number;
  readonly perSecond: number;
  /** Latencies, ms. */
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export const CONNECTIONS = 50;

/**
 * Posts a JSON body over and over on 50 connections for so many seconds. The generator is wrk: one thread in C, light
 * enough not to be what is measured on a small machine.
 * @throws Error when any answer was not 2xx, or a connection failed
 */
export async function postFor(seconds: number, url: string, body: string): Promise<Load> {
  const args = ["-t1", `-c${CONNECTIONS}`, `-d${seconds}s`, "--timeout", "10s", "-s", join(import.meta.dirname, "post.lua"), url];
  const { stdout } = await promisify(execFile)("wrk", args, { env: { ...process.env, BENCH_BODY: body } }).catch((error) => {
    if (error.code === "ENOENT") throw new Error("wrk makes the load and is missing: apt-get install -y wrk");
    throw error;
  });
  const figures = JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Record<string, number>;
  const read = (name: string) => figures[name] as number;
  const failed = ["connect", "read", "write", "status", "timeout"].filter((name) => read(name) > 0);
  if (failed.length > 0 || read("requests") === 0) {
    const told = failed.map((name) => `${read(name)} ${name} errors`).join(", ") || "no answer at all";
    throw new Error(`${url} did not answer as it should: ${told} beside ${read("requests")} answers`);
  }
  return {
    requests: read("requests"),
    perSecond: read("requests") / (read("microseconds") / 1e6),
    p50: read("p50") / 1000,
    p99: read("p99") / 1000,
    max: read("max") / 1000,
  };
}
