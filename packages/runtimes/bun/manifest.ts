import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { findReadableProgram } from "../src/readable-program.ts";
import type { MissingRuntime, Runtime, RuntimeManifest, RuntimeMount } from "../src/runtime.ts";

const BINARY = "/usr/bin/bun";
/** Beside each other inside as on the host: the server imports what it shares with Deno's by a relative path. */
const TARGET = "/treadle/runtimes";
const MIB = 1024 * 1024;
const CERTIFICATES = ["/etc/ssl/certs", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates"];

/** Bun 1.2 or newer: TREADLE_BUN when it is set, else the set-up's, else the system's or the PATH's. */
export const manifest: RuntimeManifest = {
  language: "bun",
  async find(): Promise<Runtime | MissingRuntime> {
    const search = { variable: "TREADLE_BUN", name: "bun", tool: "bin/bun" };
    const found = await findReadableProgram(search, examine);
    if (typeof found === "string") return { language: "bun", reason: found, remedy: "npm run setup:languages" };
    return runtimeOf(found);
  },
};

interface Bun {
  readonly executable: string;
  readonly version: string;
}

async function examine(executable: string): Promise<Bun | string> {
  const version = /\/bun-(\d+\.\d+\.\d+)\/bin\/bun$/.exec(executable)?.[1] ?? (await askVersion(executable));
  if (version === null) return "does not run";
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 1 || minor >= 2 ? { executable, version } : `is version ${version}, 1.2 or newer is needed`;
}

async function askVersion(executable: string): Promise<string | null> {
  const output = await promisify(execFile)(executable, ["--version"], { env: {}, timeout: 10_000 }).catch(() => null);
  return /^\d+\.\d+\.\d+/.exec(output?.stdout ?? "")?.[0] ?? null;
}

function mount(folder: string, name: string): RuntimeMount {
  return { source: join(import.meta.dirname, folder), target: `${TARGET}/${name}`, access: "read-only" };
}

function runtimeOf({ executable, version }: Bun): Runtime {
  const root = { executables: [{ source: executable, target: BINARY }], system: [...CERTIFICATES, "/usr/share/zoneinfo"] };
  const shell = { source: "/bin/sh", target: "/bin/sh" };
  // Transpiled code is not kept: the scratch is new at every start.
  const environment = {
    HOME: "/tmp",
    NODE_ENV: "production",
    NO_COLOR: "1",
    // Code and packages lie in different folders; without packages there is nothing at this path.
    NODE_PATH: "/dependencies/node_modules",
    DO_NOT_TRACK: "1",
    BUN_RUNTIME_TRANSPILER_CACHE_PATH: "0",
  };
  return {
    language: "bun",
    aliases: [],
    name: `bun-${version.split(".")[0]}`,
    version,
    contracts: ["handler", "script"],
    transports: ["frames", "http"],
    defaultEntrypoint: "index.ts",
    fileEndings: [".ts", ".js", ".mjs", ".cjs", ".mts", ".tsx", ".jsx"],
    markerFiles: ["bun.lock", "bun.lockb", "bunfig.toml"],
    root,
    mounts: [mount("server", "bun/server"), mount("../web", "web")],
    command: ({ transport }) => [BINARY, "run", "--no-install", `${TARGET}/bun/server/main.js`, transport],
    environment,
    build: {
      manifestFiles: ["package.json", "bun.lock", "bun.lockb"],
      fetch: {
        command: ["/bin/sh", `${TARGET}/bun/fetch.sh`],
        root: { executables: [...root.executables, shell], system: root.system },
        mounts: [mount("fetch.sh", "bun/fetch.sh"), mount("fetch.js", "bun/fetch.js")],
        environment: { ...environment, PATH: "/usr/bin:/bin" },
        registries: ["registry.npmjs.org:443"],
      },
      compile: null,
      installer: null,
    },
    baseMemoryBytes: 64 * MIB,
  };
}
