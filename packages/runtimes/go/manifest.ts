import { existsSync, readFileSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { certificateBundle } from "../src/certificate-bundle.ts";
import { hiddenFolder } from "../src/readable-program.ts";
import type { RuntimeManifest } from "../src/runtime.ts";
import { shellTools } from "../src/shell-tools.ts";
import { moduleProxies } from "./module-proxies.ts";

/** Where things are inside a build. */
const TOOLCHAIN = "/toolchain/go";
const RUNTIME = "/runtime/go";
const MEBIBYTE = 1024 * 1024;
const REMEDY =
  "Unpack Go 1.22 or newer from https://go.dev/dl/ into /usr/local/go (or `apt-get install golang-go`), or name its folder in TREADLE_GO.";

/** Go, compiled to one static executable. */
export const manifest: RuntimeManifest = {
  language: "go",
  async find() {
    const missing = (reason: string) => ({ language: "go", reason, remedy: REMEDY });
    const folder = toolchainFolders().find((each) => existsSync(join(each, "VERSION")) && existsSync(join(each, "bin/go")));
    if (folder === undefined) return missing("No Go toolchain was found.");
    const toolchain = realpathSync(folder);
    // The folder is mounted as it is: what lies above it may be closed to others, what it holds may not.
    if ((await hiddenFolder(join(toolchain, "bin/go"))) === join(toolchain, "bin"))
      return missing(`${toolchain} cannot be read by the account of a sandbox.`);
    const version = /^go(\d+\.\d+(?:\.\d+)?)/.exec(readFileSync(join(toolchain, "VERSION"), "utf8"))?.[1] ?? "0";
    const [major = 0, minor = 0] = version.split(".").map(Number);
    if (major < 1 || (major === 1 && minor < 22)) return missing(`Go ${version} in ${toolchain} is too old.`);

    const root = { executables: await shellTools(), system: [] };
    const mounts = [
      { source: toolchain, target: TOOLCHAIN, access: "read-only" },
      ...["server", "fetch.sh", "build.sh"].map(
        (name) => ({ source: join(import.meta.dirname, name), target: `${RUNTIME}/${name}`, access: "read-only" }) as const,
      ),
    ] as const;
    const environment = { PATH: `${TOOLCHAIN}/bin:/usr/bin:/bin`, LANG: "C.UTF-8" };
    const certificates = certificateBundle();
    const proxies = moduleProxies(process.env, goEnvironmentFiles(toolchain));
    return {
      language: "go",
      aliases: ["golang"],
      name: `go-${major}.${minor}`,
      version,
      contracts: ["handler"],
      transports: ["frames", "http"],
      defaultEntrypoint: "main.go",
      fileEndings: [".go"],
      markerFiles: ["go.mod"],
      root: {
        executables: [],
        system: [
          "/etc/ssl/certs",
          "/usr/share/ca-certificates",
          "/usr/local/share/ca-certificates",
          "/usr/share/zoneinfo",
          "/etc/localtime",
        ],
      },
      mounts: [],
      command: ({ transport, code, heapBytes }) => [
        `${code}/server`,
        ...(heapBytes === null ? [] : [`--heap-bytes=${heapBytes}`]),
        ...(transport === "frames" ? ["--frames"] : []),
      ],
      environment: {},
      build: {
        manifestFiles: ["go.mod", "go.sum"],
        fetch: {
          command: ["/bin/sh", `${RUNTIME}/fetch.sh`],
          root,
          mounts: [...mounts, ...certificates.mounts],
          environment: { ...environment, ...certificates.environment, ...proxies.environment },
          registries: proxies.registries,
        },
        compile: { command: ["/bin/sh", `${RUNTIME}/build.sh`], root, mounts, environment },
        installer: null,
      },
      baseMemoryBytes: 16 * MEBIBYTE,
    };
  },
};

/** Folders in which a toolchain may be; only the one of TREADLE_GO when that is set. */
function toolchainFolders(): string[] {
  const chosen = process.env.TREADLE_GO;
  if (chosen) return [chosen];
  const onPath = (process.env.PATH ?? "").split(delimiter).flatMap((folder) => {
    try {
      return [dirname(dirname(realpathSync(join(folder, "go"))))];
    } catch {
      return [];
    }
  });
  return [...(process.env.GOROOT ? [process.env.GOROOT] : []), "/usr/local/go", "/usr/lib/go", ...onPath];
}

/** What `go env -w` wrote, the user's before the toolchain's. */
function goEnvironmentFiles(toolchain: string): string[] {
  const user = process.env.GOENV ?? join(process.env.XDG_CONFIG_HOME ?? join(homedir(), ".config"), "go/env");
  return [user, join(toolchain, "go.env")].flatMap((file) => {
    try {
      return [readFileSync(file, "utf8")];
    } catch {
      return [];
    }
  });
}
