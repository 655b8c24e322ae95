import { realpathSync } from "node:fs";
import { join } from "node:path";
import { NO_BUILD, type RuntimeManifest } from "../src/runtime.ts";

/** Where the runtime server is inside the sandbox. */
const SERVER = "/runtime/node";
const BINARY = "/usr/bin/node";
const MEBIBYTE = 1024 * 1024;

/** JavaScript on the Node that runs Treadle itself. */
export const manifest: RuntimeManifest = {
  language: "node",
  async find() {
    const version = process.versions.node;
    const major = Number(version.split(".")[0]);
    if (major < 22) {
      return {
        language: "node",
        reason: `Node ${version} is too old for functions.`,
        remedy: "Run Treadle with Node 22 or newer.",
      };
    }
    return {
      language: "node",
      aliases: ["nodejs", "javascript"],
      name: `node-${major}`,
      version,
      contracts: ["inline", "handler", "script"],
      defaultEntrypoint: "index.js",
      fileEndings: [".js", ".mjs", ".cjs"],
      markerFiles: ["package.json"],
      transports: ["frames", "http"],
      root: {
        executables: [{ source: realpathSync(process.execPath), target: BINARY }],
        system: [
          "/etc/ssl/certs",
          "/etc/ssl/openssl.cnf",
          "/usr/share/ca-certificates",
          "/usr/local/share/ca-certificates",
          "/usr/share/zoneinfo",
          "/etc/localtime",
        ],
      },
      mounts: [{ source: join(import.meta.dirname, "server"), target: SERVER, access: "read-only" }],
      command: ({ transport, heapBytes }) => [BINARY, ...flags(heapBytes), `${SERVER}/main.cjs`, transport],
      environment: { NODE_ENV: "production" },
      build: { ...NO_BUILD, manifestFiles: ["package.json", "package-lock.json"], installer: "npm" },
      baseMemoryBytes: 64 * MEBIBYTE,
    };
  },
};

/** What keeps an idle instance small without slowing a busy one. */
function flags(heapBytes: number | null): string[] {
  const heap = heapBytes === null ? [] : [`--max-old-space-size=${Math.max(16, Math.floor(heapBytes / MEBIBYTE))}`];
  // The callback that checks a dynamic import() of an inline body needs the VM modules flag.
  return [
    ...heap,
    "--max-semi-space-size=4",
    "--v8-pool-size=1",
    "--experimental-vm-modules",
    "--disable-warning=ExperimentalWarning",
  ];
}
