import { existsSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { findCToolchain } from "../src/c-toolchain.ts";
import type { RuntimeManifest } from "../src/runtime.ts";
import { shellTools } from "../src/shell-tools.ts";

/** Where things are inside a build. */
const TOOLCHAIN = "/toolchain/swift";
const RUNTIME = "/runtime/swift";
const MEBIBYTE = 1024 * 1024;

/** Swift, compiled to one executable with its standard library in it. */
export const manifest: RuntimeManifest = {
  language: "swift",
  async find() {
    const missing = (reason: string) => ({
      language: "swift",
      reason,
      remedy:
        "Unpack a toolchain of Swift 6 (https://www.swift.org/install/linux) into /opt/swift, or `apt-get install swiftlang` (Debian 13 or newer), or name its folder (that holds bin/swiftc) in TREADLE_SWIFT.",
    });
    const chosen = process.env.TREADLE_SWIFT;
    const folders = chosen ? [chosen] : ["/opt/swift/usr", "/opt/swift", "/usr/libexec/swift"];
    const folder = folders.find((each) => existsSync(join(each, "bin/swiftc")) && existsSync(join(each, "lib/swift_static")));
    if (folder === undefined) return missing("No Swift toolchain was found.");
    const toolchain = realpathSync(folder);
    const linker = findCToolchain();
    if (typeof linker === "string") {
      return { language: "swift", reason: `There is nothing to link with: ${linker}.`, remedy: "apt-get install g++ libc6-dev" };
    }
    // The toolchain is mounted; the compiler stands here for the libraries of the system that it, and what it makes, needs.
    const compiler = { source: realpathSync(join(toolchain, "bin/swift-frontend")), target: "/usr/bin/swift-frontend" };
    const step = {
      root: { executables: [...(await shellTools()), ...linker.executables, compiler], system: linker.system },
      mounts: [
        { source: toolchain, target: TOOLCHAIN, access: "read-only" as const },
        ...["server", "build.sh"].map(
          (name) => ({ source: join(import.meta.dirname, name), target: `${RUNTIME}/${name}`, access: "read-only" }) as const,
        ),
      ],
      environment: { PATH: `${TOOLCHAIN}/bin:/usr/bin:/bin`, LANG: "C.UTF-8" },
    };
    return {
      language: "swift",
      aliases: [],
      name: "swift-6",
      version: "6",
      contracts: ["handler"],
      transports: ["http"],
      defaultEntrypoint: "Sources/index.swift",
      fileEndings: [".swift"],
      markerFiles: ["Package.swift"],
      root: {
        executables: [compiler],
        system: ["/etc/ssl/certs", "/usr/share/ca-certificates", "/usr/share/zoneinfo", "/etc/localtime"],
      },
      mounts: [],
      command: ({ code }) => [`${code}/server`],
      environment: {},
      build: {
        manifestFiles: [],
        fetch: null,
        compile: { ...step, command: ["/bin/sh", `${RUNTIME}/build.sh`] },
        installer: null,
      },
      baseMemoryBytes: 32 * MEBIBYTE,
    };
  },
};
