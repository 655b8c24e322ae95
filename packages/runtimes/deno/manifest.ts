import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { findReadableProgram } from "../src/readable-program.ts";
import type { MissingRuntime, Runtime, RuntimeManifest, RuntimeMount } from "../src/runtime.ts";

const BINARY = "/usr/bin/deno";
/** Beside each other inside as on the host: the server imports what it shares with Bun's by a relative path. */
const TARGET = "/treadle/runtimes";
const MIB = 1024 * 1024;
const CERTIFICATES = ["/etc/ssl/certs", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates"];

/** Deno 2: TREADLE_DENO when it is set, else the set-up's, else the system's or the PATH's. */
export const manifest: RuntimeManifest = {
  language: "deno",
  async find(): Promise<Runtime | MissingRuntime> {
    const search = { variable: "TREADLE_DENO", name: "deno", tool: "deno" };
    const found = await findReadableProgram(search, examine);
    if (typeof found === "string") return { language: "deno", reason: found, remedy: "npm run setup:languages" };
    return runtimeOf(found);
  },
};

interface Deno {
  readonly executable: string;
  readonly version: string;
}

async function examine(executable: string): Promise<Deno | string> {
  const version = /\/deno-(\d+\.\d+\.\d+)\/deno$/.exec(executable)?.[1] ?? (await askVersion(executable));
  if (version === null) return "does not run";
  return Number(version.split(".")[0]) >= 2 ? { executable, version } : `is version ${version}, 2 or newer is needed`;
}

async function askVersion(executable: string): Promise<string | null> {
  const output = await promisify(execFile)(executable, ["--version"], { env: {}, timeout: 10_000 }).catch(() => null);
  return /^deno (\d+\.\d+\.\d+)/.exec(output?.stdout ?? "")?.[1] ?? null;
}

function mount(folder: string, name: string): RuntimeMount {
  return { source: join(import.meta.dirname, folder), target: `${TARGET}/${name}`, access: "read-only" };
}

function runtimeOf({ executable, version }: Deno): Runtime {
  const root = { executables: [{ source: executable, target: BINARY }], system: [...CERTIFICATES, "/usr/share/zoneinfo"] };
  const shell = { source: "/bin/sh", target: "/bin/sh" };
  // No look for updates, no colours, nothing written beside /tmp.
  const environment = { HOME: "/tmp", DENO_DIR: "/tmp/deno", DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" };
  return {
    language: "deno",
    aliases: [],
    name: `deno-${version.split(".")[0]}`,
    version,
    contracts: ["handler", "script"],
    transports: ["frames", "http"],
    defaultEntrypoint: "main.ts",
    fileEndings: [".ts", ".js", ".mjs", ".mts"],
    markerFiles: ["deno.json", "deno.jsonc", "deno.lock"],
    root,
    mounts: [mount("server", "deno/server"), mount("../web", "web")],
    command: ({ transport, heapBytes, dependencies }) => [
      BINARY,
      "run",
      // The sandbox is the boundary; Deno's own permissions would only ask questions nobody answers.
      "--allow-all",
      "--no-code-cache",
      // Packages are those of the dependency layer; nothing is fetched while calls wait.
      "--cached-only",
      ...(dependencies === null ? ["--no-config"] : ["--config", `${dependencies}/deno.json`]),
      ...(heapBytes === null ? [] : [`--v8-flags=--max-old-space-size=${Math.max(16, Math.floor(heapBytes / MIB))}`]),
      `${TARGET}/deno/server/main.js`,
      transport,
    ],
    environment,
    build: {
      manifestFiles: ["deno.json", "deno.jsonc", "deno.lock", "package.json"],
      fetch: {
        command: ["/bin/sh", `${TARGET}/deno/fetch.sh`],
        root: { executables: [...root.executables, shell], system: root.system },
        mounts: [mount("fetch.sh", "deno/fetch.sh"), mount("fetch.js", "deno/fetch.js")],
        environment: { ...environment, PATH: "/usr/bin:/bin" },
        registries: ["registry.npmjs.org:443", "jsr.io:443", "npm.jsr.io:443", "deno.land:443"],
      },
      compile: null,
      installer: null,
    },
    baseMemoryBytes: 64 * MIB,
  };
}
