import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { findReadableProgram } from "../src/readable-program.ts";
import { type MissingRuntime, NO_BUILD, type Runtime, type RuntimeManifest } from "../src/runtime.ts";

const BINARY = "/usr/bin/ruby";
const SERVER = "/treadle/runtimes/ruby/server";
const MIB = 1024 * 1024;
const SYSTEM_FILES = [
  "/etc/ssl/certs",
  "/etc/ssl/openssl.cnf",
  "/usr/lib/ssl",
  "/usr/share/ca-certificates",
  "/usr/share/zoneinfo",
];

/** Ruby 3 or newer: TREADLE_RUBY when it is set, else the system's or the PATH's. */
export const manifest: RuntimeManifest = {
  language: "ruby",
  async find(): Promise<Runtime | MissingRuntime> {
    const found = await findReadableProgram({ variable: "TREADLE_RUBY", name: "ruby" }, examine);
    if (typeof found === "string") return { language: "ruby", reason: found, remedy: "npm run setup:languages" };
    return runtimeOf(found);
  },
};

interface Ruby {
  readonly executable: string;
  readonly version: string;
  /** Folders of its standard library. */
  readonly library: readonly string[];
}

const QUESTION = 'puts RUBY_VERSION, RbConfig::CONFIG.values_at("rubylibdir", "rubyarchdir")';

async function examine(executable: string): Promise<Ruby | string> {
  const flags = ["--disable-gems", "-rrbconfig", "-e", QUESTION];
  const output = await promisify(execFile)(executable, flags, { env: {}, timeout: 10_000, cwd: "/" }).catch(() => null);
  if (output === null) return "does not run";
  const [version = "", ...library] = output.stdout.trim().split("\n");
  return Number(version.split(".")[0]) >= 3 ? { executable, version, library } : `is version ${version}, 3 or newer is needed`;
}

function runtimeOf({ executable, version, library }: Ruby): Runtime {
  const numbers = version.split(".", 2).join(".");
  return {
    language: "ruby",
    aliases: [],
    name: `ruby-${numbers}`,
    version,
    contracts: ["handler", "script"],
    transports: ["frames", "http"],
    defaultEntrypoint: "main.rb",
    fileEndings: [".rb"],
    markerFiles: ["Gemfile"],
    root: { executables: [{ source: executable, target: BINARY }], system: [...library, ...SYSTEM_FILES] },
    mounts: [{ source: join(import.meta.dirname, "server"), target: SERVER, access: "read-only" }],
    // RubyGems takes 30 ms of each start.
    command: ({ transport }) => [BINARY, "--disable-gems", "-Eutf-8", `${SERVER}/main.rb`, transport],
    environment: { HOME: "/tmp", LANG: "C.UTF-8" },
    build: NO_BUILD,
    baseMemoryBytes: 32 * MIB,
  };
}
