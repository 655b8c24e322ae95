import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";

/** What a figure depends on besides the code. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memory: string;
  readonly system: string;
  readonly kernel: string;
  readonly node: string;
  readonly python: string;
  readonly bubblewrap: string;
  readonly wrk: string;
  /** Commit of the checkout, with a plus when something that counts was changed since. */
  readonly treadle: string;
}

export const PYTHON = "/usr/bin/python3";

export function machine(root: string): Machine {
  const changed = output("git", ["-C", root, "status", "--porcelain", "--", "packages", "bin", "package-lock.json"]);
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    system: /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "Linux",
    kernel: release(),
    node: process.version,
    python: output(PYTHON, ["--version"]).replace("Python ", ""),
    bubblewrap: output("bwrap", ["--version"]).replace("bubblewrap ", ""),
    // wrk has no way to print its version that ends with status 0.
    wrk: /wrk (\S+)/.exec(output("wrk", ["-v"]))?.[1] ?? "missing",
    treadle: `${output("git", ["-C", root, "rev-parse", "--short", "HEAD"]) || "unknown"}${changed === "" ? "" : "+"}`,
  };
}

/** Processes that wanted a core, averages of the last minute and the last five. */
export function load(): string {
  return loadavg()
    .slice(0, 2)
    .map((each) => each.toFixed(2))
    .join(", ");
}

function output(program: string, args: string[]): string {
  try {
    return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
  } catch (error) {
    return String((error as { stdout?: string }).stdout ?? "").trim();
  }
}
