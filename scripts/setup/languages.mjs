// `npm run setup:languages`: gets the toolchains of the languages that run beside Node and Python. Each is optional: what cannot be
// had is said, and the others are still installed. Deno and Bun go into `.tools`, the rest comes from Debian's packages.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { makeFolder } from "./atomic-folder.mjs";
import { tools } from "./layout.mjs";
import { findProgram, run } from "./programs.mjs";
import { fetchPackage } from "./registry-package.mjs";
import { installWithApt } from "./system-packages.mjs";

/** Debian packages by language, there when `program` is on the PATH or `file` exists. Go and Rust are not among them: Debian's are often too old. */
const SYSTEM_PACKAGES = [
  { language: "php", debian: "php-cli", program: "php" },
  { language: "ruby", debian: "ruby", program: "ruby" },
  { language: "java and kotlin", debian: "default-jdk-headless", program: "javac" },
  { language: "java and kotlin", debian: "maven", program: "mvn" },
  { language: "cpp", debian: "g++", program: "g++" },
  { language: "cpp", debian: "libboost-dev", file: "/usr/include/boost/version.hpp" },
  { language: "cpp", debian: "nlohmann-json3-dev", file: "/usr/include/nlohmann/json.hpp" },
  { language: "dotnet", debian: "mono-mcs", program: "mcs" },
  { language: "dotnet", debian: "mono-runtime", program: "mono" },
];

/** Programs that npm carries as platform packages: `member` is the program in the package. */
const NPM_PROGRAMS = {
  deno: {
    "linux x64": {
      name: "@deno/linux-x64-glibc",
      version: "2.9.6",
      member: "deno",
      integrity: "sha512-3md4TKLCuzsLDmfOoC5KN7NAZaxSVkMgm64vg6foD00JBADCpYS2/5QqXfzgnP5ZQz3iLP9vBQJtEgc116OAoQ==",
    },
    "linux arm64": {
      name: "@deno/linux-arm64-glibc",
      version: "2.9.5",
      member: "deno",
      integrity: "sha512-IuYjsz9PGl7CJcNXMuN27KNDB8Q40brK3SG3l+TXMDVW61ZKwcn0fQHBHnXFiiygEwI8by/fKnASEluhZB1atw==",
    },
  },
  bun: {
    "linux x64": {
      name: "@oven/bun-linux-x64",
      version: "1.4.5",
      member: "bin/bun",
      integrity: "sha512-IWX9BELoGHAUtMonkeSaNaZwXzRk+oDw6Mk+HBFXd3KHYIBNBsIGRupMZPcgNoDbJpLu6gAJjIoIVPZtt1aJ1g==",
    },
    // For processors without AVX2.
    "linux x64 old": {
      name: "@oven/bun-linux-x64-baseline",
      version: "1.4.5",
      member: "bin/bun",
      integrity: "sha512-s8yMwYcFnnrA178gji0gZbkE2WVDej/Ti1x770oPfihxyRxSMNhGhiAQNXV53aDeraZxksdvKV/RAdQBCd0qPA==",
    },
    "linux arm64": {
      name: "@oven/bun-linux-aarch64",
      version: "1.4.5",
      member: "bin/bun",
      integrity: "sha512-4BXmsSKnjOrlGWqZV4x/oWa7AVoR+B6lCXddMzOAXBIm3t50eslg9wb66gmtW1AamEQ1l1CDvmmruysEhqOWMg==",
    },
  },
};

/** Key of this machine in NPM_PROGRAMS; programs without a line for old processors run on all. */
function platformKeys() {
  const key = `${process.platform} ${process.arch}`;
  const old = key === "linux x64" && !/\bavx2\b/.test(readFileSync("/proc/cpuinfo", "utf8"));
  return old ? [`${key} old`, key] : [key];
}

/** Puts a program into `.tools/<program>-<version>/`. */
async function provideNpmProgram(program, platforms) {
  const key = platformKeys().find((each) => each in platforms);
  if (key === undefined) throw new Error(`there is no package of ${program} for this machine`);
  const { member, ...from } = platforms[key];
  const name = `${program}-${from.version}`;
  if (existsSync(join(tools, name))) return;
  await makeFolder(name, async (temporary) => {
    await fetchPackage(from, temporary, [`package/${member}`]);
    const check = await run([join(temporary, member), "--version"], { quiet: true });
    if (!check.ok) throw new Error(`${name} does not run on this machine: ${check.output.trim()}`);
  });
}

function isThere({ program, file }) {
  return file === undefined ? findProgram(program) !== null : existsSync(file);
}

async function provideSystemPrograms() {
  const missing = SYSTEM_PACKAGES.filter((each) => !isThere(each));
  if (missing.length === 0) return;
  const packages = missing.map(({ debian }) => debian);
  if (findProgram("apt-get") && process.getuid() === 0) {
    console.log(`setup: installing ${packages.join(", ")}`);
    await installWithApt(packages);
  }
  const still = missing.filter((each) => !isThere(each));
  if (still.length === 0) return;
  const languages = [...new Set(still.map(({ language }) => language))].join(", ");
  throw new Error(`missing for ${languages}: sudo apt-get install -y ${still.map(({ debian }) => debian).join(" ")}`);
}

const steps = [
  ...Object.entries(NPM_PROGRAMS).map(
    ([program, platforms]) =>
      () =>
        provideNpmProgram(program, platforms),
  ),
  provideSystemPrograms,
];
for (const step of steps) {
  try {
    await step();
  } catch (error) {
    console.error(`setup: warning: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
