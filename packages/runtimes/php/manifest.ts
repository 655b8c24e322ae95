import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { findReadableProgram } from "../src/readable-program.ts";
import { type MissingRuntime, NO_BUILD, type Runtime, type RuntimeManifest } from "../src/runtime.ts";

const BINARY = "/usr/bin/php";
const SERVER = "/treadle/runtimes/php/server";
const MIB = 1024 * 1024;
const SYSTEM_FILES = [
  "/etc/ssl/certs",
  "/etc/ssl/openssl.cnf",
  "/usr/lib/ssl",
  "/usr/share/ca-certificates",
  "/usr/share/zoneinfo",
];

/** PHP 8.1 or newer with pcntl and sockets: TREADLE_PHP when it is set, else the system's or the PATH's. */
export const manifest: RuntimeManifest = {
  language: "php",
  async find(): Promise<Runtime | MissingRuntime> {
    const found = await findReadableProgram({ variable: "TREADLE_PHP", name: "php" }, examine);
    if (typeof found === "string") return { language: "php", reason: found, remedy: "npm run setup:languages" };
    return runtimeOf(found);
  },
};

interface Php {
  readonly executable: string;
  readonly version: string;
  /** Folders of its extensions and of its settings. */
  readonly folders: readonly string[];
}

const QUESTION =
  'echo json_encode([PHP_VERSION, extension_loaded("pcntl") && extension_loaded("sockets") && extension_loaded("posix"), PHP_EXTENSION_DIR, php_ini_loaded_file() ?: "", PHP_CONFIG_FILE_SCAN_DIR]);';

async function examine(executable: string): Promise<Php | string> {
  const output = await promisify(execFile)(executable, ["-r", QUESTION], { env: {}, timeout: 10_000, cwd: "/" }).catch(
    () => null,
  );
  if (output === null) return "does not run";
  const [version, complete, ...folders] = JSON.parse(output.stdout) as [string, boolean, ...string[]];
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major < 8 || (major === 8 && minor < 1)) return `is version ${version}, 8.1 or newer is needed`;
  if (!complete) return "lacks one of the extensions pcntl, posix and sockets";
  return { executable, version, folders: folders.filter((folder) => folder.startsWith("/")) };
}

function runtimeOf({ executable, version, folders }: Php): Runtime {
  const numbers = version.split(".", 2).join(".");
  // Debian's settings are links to where they are available.
  const system = [...folders, `/usr/share/php/${numbers}`, `/etc/php/${numbers}/mods-available`, ...SYSTEM_FILES];
  return {
    language: "php",
    aliases: [],
    name: `php-${numbers}`,
    version,
    contracts: ["handler", "script"],
    transports: ["http"],
    defaultEntrypoint: "index.php",
    fileEndings: [".php"],
    markerFiles: ["composer.json"],
    root: { executables: [{ source: executable, target: BINARY }], system },
    mounts: [{ source: join(import.meta.dirname, "server"), target: SERVER, access: "read-only" }],
    command: () => [BINARY, `${SERVER}/main.php`],
    environment: { HOME: "/tmp", LANG: "C.UTF-8" },
    build: NO_BUILD,
    baseMemoryBytes: 48 * MIB,
  };
}
