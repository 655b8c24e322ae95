import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { findCToolchain } from "../src/c-toolchain.ts";
import { certificateBundle } from "../src/certificate-bundle.ts";
import type { RuntimeManifest } from "../src/runtime.ts";
import { shellTools } from "../src/shell-tools.ts";
import { crateRegistries } from "./crate-registries.ts";

/** Where things are inside a build. */
const TOOLCHAIN = "/toolchain/rust";
const RUNTIME = "/runtime/rust";
const MEBIBYTE = 1024 * 1024;

/** Rust, compiled to one static executable. */
export const manifest: RuntimeManifest = {
  language: "rust",
  async find() {
    const folder = toolchainFolders().find((each) => existsSync(join(each, "bin/rustc")) && existsSync(join(each, "bin/cargo")));
    if (folder === undefined) {
      return {
        language: "rust",
        reason: "No Rust toolchain was found.",
        remedy: "Install Rust 1.82 or newer with rustup (https://rustup.rs), or name the folder of a toolchain in TREADLE_RUST.",
      };
    }
    const toolchain = realpathSync(folder);
    const version = versionOf(toolchain);
    const [major = 0, minor = 0] = version.split(".").map(Number);
    if (major < 1 || (major === 1 && minor < 82)) {
      return { language: "rust", reason: `Rust ${version} in ${toolchain} is too old.`, remedy: "rustup update stable" };
    }
    const linker = findCToolchain();
    if (typeof linker === "string") {
      return { language: "rust", reason: `There is nothing to link with: ${linker}.`, remedy: "apt-get install g++ libc6-dev" };
    }
    // The toolchain is mounted, so what lies above it may be closed to the account of a sandbox. Cargo here is for its libraries, which the others share.
    const cargo = { source: join(toolchain, "bin/cargo"), target: "/usr/bin/cargo" };
    const root = { executables: [...(await shellTools()), ...linker.executables, cargo], system: linker.system };
    const mounts = [
      { source: toolchain, target: TOOLCHAIN, access: "read-only" },
      ...["server", "workspace.sh", "fetch.sh", "build.sh"].map(
        (name) => ({ source: join(import.meta.dirname, name), target: `${RUNTIME}/${name}`, access: "read-only" }) as const,
      ),
    ] as const;
    const environment = { PATH: `${TOOLCHAIN}/bin:/usr/bin:/bin`, LANG: "C.UTF-8" };
    const certificates = certificateBundle();
    const bundle = certificates.environment.SSL_CERT_FILE;
    const crates = crateRegistries(process.env);
    return {
      language: "rust",
      aliases: ["rs"],
      name: `rust-${major}.${minor}`,
      version,
      contracts: ["handler"],
      transports: ["http"],
      defaultEntrypoint: "src/main.rs",
      fileEndings: [".rs"],
      markerFiles: ["Cargo.toml"],
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
        manifestFiles: ["Cargo.toml", "Cargo.lock"],
        fetch: {
          command: ["/bin/sh", `${RUNTIME}/fetch.sh`],
          root,
          mounts: [...mounts, ...certificates.mounts],
          environment: {
            ...environment,
            ...certificates.environment,
            ...(bundle !== undefined && { CARGO_HTTP_CAINFO: bundle }),
            ...(crates.configuration !== null && { TREADLE_CARGO_CONFIG: crates.configuration }),
          },
          registries: crates.registries,
        },
        compile: { command: ["/bin/sh", `${RUNTIME}/build.sh`], root, mounts, environment },
        installer: null,
      },
      baseMemoryBytes: 16 * MEBIBYTE,
    };
  },
};

/** Folders in which a toolchain may be, best first; only the one of TREADLE_RUST when that is set. */
function toolchainFolders(): string[] {
  const chosen = process.env.TREADLE_RUST;
  if (chosen) return [chosen];
  const rustup = join(process.env.RUSTUP_HOME || join(homedir(), ".rustup"), "toolchains");
  const installed = existsSync(rustup) ? readdirSync(rustup).map((name) => join(rustup, name)) : [];
  const stable = installed.filter((folder) => !/nightly|beta/.test(folder));
  return [...stable, ...installed, "/usr/local", "/opt/rust"];
}

/** Of the installer's own notes, else of the name of the compiler's library manifest; `0` when nobody tells. */
function versionOf(toolchain: string): string {
  const notes = ["lib/rustlib/multirust-channel-manifest.toml", "lib/rustlib/manifest-rustc"];
  for (const note of notes) {
    try {
      const found = /\[pkg\.rustc\]\s*version = "(\d+\.\d+\.\d+)/.exec(readFileSync(join(toolchain, note), "utf8"))?.[1];
      if (found !== undefined) return found;
    } catch {
      // The next one.
    }
  }
  const library = readdirSync(join(toolchain, "lib")).find((name) => name.startsWith("libLLVM"));
  return /rust-(\d+\.\d+\.\d+)/.exec(library ?? "")?.[1] ?? "0";
}
