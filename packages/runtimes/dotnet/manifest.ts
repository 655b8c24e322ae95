import { existsSync, readFileSync, realpathSync } from "node:fs";
import type { Runtime, RuntimeManifest, RuntimeRoot } from "../src/runtime.ts";
import { shellTools } from "../src/shell-tools.ts";

const FOLDER = import.meta.dirname;
/** Where build sandboxes see this folder. */
const INSIDE = "/treadle/runtimes/dotnet";
const MONO = "/usr/bin/mono";
const COMPILER = "/usr/lib/mono/4.5/mcs.exe";
const MEBIBYTE = 1024 * 1024;

/** Mono loads these by name, so that no ELF header tells of them. */
const LIBRARIES = ["libmono-native.so", "libmono-native.so.0", "libMonoPosixHelper.so", "libmono-btls-shared.so"].map(
  (name) => `/usr/lib/${name}`,
);

/** C# on Mono. */
export const manifest: RuntimeManifest = {
  language: "dotnet",
  async find() {
    if (!existsSync(MONO) || !existsSync(COMPILER)) {
      return {
        language: "dotnet",
        reason: "Mono and its C# compiler were not found.",
        remedy: "apt-get install -y mono-mcs mono-runtime",
      };
    }
    return dotnetRuntime(monoVersion());
  },
};

/** As the distribution's package says: Mono's files do not, and starting it takes too long. */
function monoVersion(): string {
  try {
    const packages = readFileSync("/var/lib/dpkg/status", "utf8");
    return /^Package: mono-runtime\n(?:.+\n)*?Version: ([\d.]+)/m.exec(packages)?.[1]?.replace(/\.$/, "") ?? "4.5";
  } catch {
    return "4.5";
  }
}

async function dotnetRuntime(version: string): Promise<Runtime> {
  const root: RuntimeRoot = {
    executables: [
      { source: realpathSync(MONO), target: MONO },
      // Gives Mono the bound of its heap, which it takes from the environment only.
      { source: "/usr/bin/env", target: "/usr/bin/env" },
    ],
    system: [
      "/usr/lib/mono",
      "/etc/mono",
      ...LIBRARIES,
      "/etc/ssl/certs",
      "/usr/share/ca-certificates",
      "/usr/share/zoneinfo",
      "/etc/localtime",
    ],
  };
  return {
    language: "dotnet",
    aliases: ["csharp", "c#", "mono"],
    name: `dotnet-mono-${version.split(".", 2).join(".")}`,
    version,
    contracts: ["handler"],
    transports: ["http"],
    defaultEntrypoint: "Handler.cs",
    fileEndings: [".cs"],
    markerFiles: [],
    root,
    mounts: [],
    command: ({ heapBytes, code }) => [
      "/usr/bin/env",
      "-C",
      code ?? "/code",
      `MONO_GC_PARAMS=max-heap-size=${heapBytes === null ? 256 : Math.max(32, Math.floor(heapBytes / MEBIBYTE))}m,nursery-size=2m`,
      MONO,
      ".treadle/treadle-runtime.exe",
    ],
    // MONO_ENABLE_SHM 0: no shared memory file of Mono's own.
    environment: { HOME: "/tmp", LANG: "C.UTF-8", MONO_ENABLE_SHM: "0" },
    build: {
      manifestFiles: [],
      fetch: null,
      compile: {
        command: ["/bin/sh", `${INSIDE}/build.sh`],
        root: {
          executables: [...root.executables.slice(0, 1), ...(await shellTools())],
          system: root.system,
        },
        mounts: [{ source: FOLDER, target: INSIDE, access: "read-only" }],
        environment: { HOME: "/tmp", PATH: "/usr/bin:/bin", LANG: "C.UTF-8", MONO_ENABLE_SHM: "0" },
      },
      installer: null,
    },
    baseMemoryBytes: 48 * MEBIBYTE,
  };
}
