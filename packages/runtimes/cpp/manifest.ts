import { existsSync } from "node:fs";
import { join } from "node:path";
import { findCToolchain } from "../src/c-toolchain.ts";
import type { RuntimeManifest } from "../src/runtime.ts";
import { shellTools } from "../src/shell-tools.ts";

/** Where things are inside a build. */
const RUNTIME = "/runtime/cpp";
const MEBIBYTE = 1024 * 1024;

/** C++, compiled by g++ to one static executable. */
export const manifest: RuntimeManifest = {
  language: "cpp",
  async find() {
    const missing = (reason: string) => ({
      language: "cpp",
      reason,
      remedy: "apt-get install g++ libc6-dev libboost-dev nlohmann-json3-dev (TREADLE_CXX names another g++)",
    });
    const toolchain = findCToolchain(process.env.TREADLE_CXX || undefined);
    if (typeof toolchain === "string") return missing(`There is no C++ compiler: ${toolchain}.`);
    if (Number(toolchain.version) < 11) return missing(`g++ ${toolchain.version} is too old for C++20.`);
    const lacking = ["boost/beast.hpp", "nlohmann/json.hpp"].filter((header) => !existsSync(join(toolchain.include, header)));
    if (lacking.length > 0) return missing(`The headers ${lacking.join(" and ")} are not installed.`);

    const step = {
      root: { executables: [...(await shellTools()), ...toolchain.executables], system: toolchain.system },
      mounts: ["server", "flags.sh", "fetch.sh", "build.sh"].map(
        (name) => ({ source: join(import.meta.dirname, name), target: `${RUNTIME}/${name}`, access: "read-only" }) as const,
      ),
      environment: { PATH: "/usr/bin:/bin", LANG: "C.UTF-8" },
    };
    return {
      language: "cpp",
      aliases: ["c++", "cxx"],
      name: `cpp-${toolchain.version}`,
      version: toolchain.version,
      contracts: ["handler"],
      transports: ["http"],
      defaultEntrypoint: "main.cpp",
      fileEndings: [".cpp", ".cc", ".cxx"],
      markerFiles: ["main.cpp"],
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
      command: ({ code }) => [`${code}/server`],
      environment: {},
      build: {
        manifestFiles: [],
        fetch: { ...step, command: ["/bin/sh", `${RUNTIME}/fetch.sh`], registries: [] },
        compile: { ...step, command: ["/bin/sh", `${RUNTIME}/build.sh`] },
        installer: null,
      },
      baseMemoryBytes: 16 * MEBIBYTE,
    };
  },
};
