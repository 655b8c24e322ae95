import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { NO_BUILD, type RuntimeManifest } from "../src/runtime.ts";

const PERL = "/usr/bin/perl";
/** Where the sandbox sees `server/`. */
const SERVER = "/treadle/runtimes/perl";
const MEBIBYTE = 1024 * 1024;

/** Perl as Debian has it, with its standard library. */
export const manifest: RuntimeManifest = {
  language: "perl",
  async find() {
    const library = "/usr/share/perl";
    const version = existsSync(library) ? readdirSync(library).find((name) => /^5\.\d+\.\d+$/.test(name)) : undefined;
    if (!existsSync(PERL) || version === undefined) {
      return { language: "perl", reason: "Perl with its standard library was not found.", remedy: "apt-get install -y perl" };
    }
    return {
      language: "perl",
      aliases: ["perl5"],
      name: `perl-${version.split(".", 2).join(".")}`,
      version,
      contracts: ["handler"],
      transports: ["http"],
      defaultEntrypoint: "main.pl",
      fileEndings: [".pl"],
      markerFiles: [],
      root: {
        executables: [{ source: PERL, target: PERL }],
        system: [library, ...nativeLibraries(), "/etc/ssl/certs", "/usr/share/zoneinfo", "/etc/localtime"],
      },
      mounts: [{ source: join(import.meta.dirname, "server"), target: SERVER, access: "read-only" }],
      command: () => [PERL, `-I${SERVER}`, `${SERVER}/start.pl`],
      environment: { HOME: "/tmp", LANG: "C.UTF-8" },
      build: NO_BUILD,
      baseMemoryBytes: 24 * MEBIBYTE,
    };
  },
};

/** `/usr/lib/x86_64-linux-gnu/perl` and its like: modules in C. */
function nativeLibraries(): string[] {
  const folders = readdirSync("/usr/lib").filter((name) => name.endsWith("-linux-gnu"));
  return folders.flatMap((name) => ["perl", "perl-base"].map((each) => join("/usr/lib", name, each)));
}
