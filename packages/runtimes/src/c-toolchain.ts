import { existsSync, readdirSync, realpathSync } from "node:fs";
import { basename, join } from "node:path";
import type { RuntimeRoot } from "./runtime.ts";

/** gcc with all that a static program is linked of, for the root of a build. */
export interface CToolchain extends RuntimeRoot {
  /** Major version of gcc. */
  readonly version: string;
  /** Folder with the headers of the system. */
  readonly include: string;
}

const GCC = "/usr/lib/gcc";
const INCLUDE = "/usr/include";
/** Programs of gcc's own folder that the driver starts, besides the compilers. */
const INNER = ["cc1", "cc1plus", "collect2", "lto-wrapper", "lto1"];
const BINARY_TOOLS = ["as", "ld", "ar", "ranlib", "strip"];
/** Of libc and its kin, what the linker asks for; libstdc++ lies in gcc's own folder. */
const LINKED = [
  ...[
    "crt1.o",
    "crti.o",
    "crtn.o",
    "Scrt1.o",
    "rcrt1.o",
    "libc.a",
    "libc.so",
    "libc_nonshared.a",
    "libm.a",
    "libm.so",
    "libmvec.a",
  ],
  ...[
    "libmvec.so.1",
    "libpthread.a",
    "libdl.a",
    "librt.a",
    "libutil.a",
    "libresolv.a",
    "libresolv.so",
    "libz.a",
    "libssl.a",
    "libcrypto.a",
  ],
];

/** Looks for gcc and g++. @param compiler path of g++ (or gcc); its name ends with its version, or the newest one is taken. Resolves to why there is none. */
export function findCToolchain(compiler = "/usr/bin/g++"): CToolchain | string {
  if (!existsSync(compiler)) return `${compiler} does not exist`;
  const real = realpathSync(compiler);
  const machine = existsSync(GCC) ? readdirSync(GCC).find((name) => name.endsWith("-linux-gnu")) : undefined;
  if (machine === undefined) return `${GCC} has no compiler of this machine`;
  const versions = readdirSync(join(GCC, machine))
    .filter((name) => existsSync(join(GCC, machine, name, "cc1plus")))
    .sort((a, b) => Number(b) - Number(a));
  const named = /-(\d+)$/.exec(basename(real))?.[1];
  const version = versions.find((each) => each === named) ?? versions[0];
  if (version === undefined) return `${GCC}/${machine} has no cc1plus`;
  const libraries = [`/usr/lib/${machine}`, "/usr/lib64", "/usr/lib"].find((folder) => existsSync(join(folder, "libc.a")));
  if (libraries === undefined) return "there is no libc.a to link with";
  const inner = join(GCC, machine, version);
  const gcc = existsSync(real.replace("g++", "gcc")) ? real.replace("g++", "gcc") : real;
  const executables = [
    ...["g++", "c++"].map((name) => ({ source: real, target: `/usr/bin/${name}` })),
    ...["gcc", "cc"].map((name) => ({ source: gcc, target: `/usr/bin/${name}` })),
    ...BINARY_TOOLS.filter((name) => existsSync(`/usr/bin/${name}`)).map((name) => ({
      source: realpathSync(`/usr/bin/${name}`),
      target: `/usr/bin/${name}`,
    })),
    // For the libraries that they need: they are found in their folder, which is visible as a whole.
    ...INNER.map((name) => join(inner, name)).flatMap((path) => (existsSync(path) ? [{ source: path, target: path }] : [])),
  ];
  const numbered = readdirSync(libraries).filter((name) => /^libm-\d.*\.a$/.test(name));
  const system = [
    GCC,
    INCLUDE,
    ...[...LINKED, ...numbered].map((name) => join(libraries, name)).filter((path) => existsSync(path)),
  ];
  return { version, include: INCLUDE, executables, system };
}
