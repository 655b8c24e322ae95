import { execFile } from "node:child_process";
import { realpath } from "node:fs/promises";
import { join } from "node:path";
import { hiddenFolder, programCandidates } from "../src/readable-program.ts";
import { type MissingRuntime, NO_BUILD, type Runtime, type RuntimeManifest } from "../src/runtime.ts";

const SERVER_FOLDER = join(import.meta.dirname, "server");
/** Where the sandbox sees SERVER_FOLDER. */
const SERVER_TARGET = "/treadle/runtimes/python";
const MIB = 1024 * 1024;

/** System files that Python's standard library reads: certificates, time zones. The host's dist-packages are not among them. */
const SYSTEM_FILES = [
  "/etc/ssl/certs",
  "/etc/ssl/openssl.cnf",
  "/usr/lib/ssl",
  "/etc/pki/tls/certs",
  "/usr/share/ca-certificates",
  "/usr/share/zoneinfo",
];

/**
 * Python 3.9 or newer: TREADLE_PYTHON when it is set, else the system's, else what PATH offers. One that the sandbox's
 * account could not read (under a 0700 /root, say) is refused.
 */
export const manifest: RuntimeManifest = {
  language: "python",
  async find(): Promise<Runtime | MissingRuntime> {
    const refusals: string[] = [];
    for (const candidate of await programCandidates({ variable: "TREADLE_PYTHON", name: "python3" })) {
      const found = await examine(candidate);
      if (typeof found !== "string") return runtimeOf(found);
      if (found !== "") refusals.push(`${candidate}: ${found}`);
    }
    return {
      language: "python",
      reason: refusals.length === 0 ? "No python3 was found." : `No usable Python. ${refusals.join("; ")}`,
      remedy:
        process.env.TREADLE_PYTHON === undefined ? "apt-get install -y python3" : "Set TREADLE_PYTHON to a Python 3.9 or newer.",
    };
  },
};

interface Interpreter {
  readonly executable: string;
  readonly version: string;
  /** Folders of its standard library. */
  readonly library: readonly string[];
}

/** The interpreter, or why not: empty when there is nothing at this path. */
async function examine(candidate: string): Promise<Interpreter | string> {
  let executable: string;
  try {
    executable = await realpath(candidate);
  } catch {
    return candidate === process.env.TREADLE_PYTHON ? "does not exist" : "";
  }
  const hidden = await hiddenFolder(executable);
  if (hidden !== null) return `${hidden} cannot be read by the account of a sandbox`;
  const output = await probe(executable);
  if (output === null) return "does not run";
  const [version = "", ...folders] = output.trim().split("\n");
  if (!/^3\.(9|\d\d)\.\d+$/.test(version)) return `is version ${version}, 3.9 or newer is needed`;
  const library: string[] = [];
  for (const folder of folders) {
    // lib-dynload lies inside the library on most systems.
    if (!folder.startsWith("/") || library.some((outer) => folder.startsWith(`${outer}/`))) continue;
    const closed = await hiddenFolder(join(folder, "."));
    if (closed !== null) return `${closed} cannot be read by the account of a sandbox`;
    library.push(folder);
  }
  if (library.length === 0) return "has no standard library";
  return { executable, version, library };
}

function probe(executable: string): Promise<string | null> {
  return new Promise((resolve) => {
    const options = { env: {}, timeout: 10_000, cwd: "/" };
    execFile(executable, ["-I", "-S", join(SERVER_FOLDER, "probe.py")], options, (error, output) =>
      resolve(error === null ? output : null),
    );
  });
}

function runtimeOf({ executable, version, library }: Interpreter): Runtime {
  return {
    language: "python",
    aliases: ["python3"],
    name: `python-${version.split(".", 2).join(".")}`,
    version,
    contracts: ["inline", "handler", "script"],
    defaultEntrypoint: "main.py",
    fileEndings: [".py"],
    markerFiles: ["requirements.txt", "pyproject.toml"],
    transports: ["frames", "http"],
    root: {
      executables: [{ source: executable, target: executable }],
      system: [...library, ...SYSTEM_FILES],
    },
    mounts: [{ source: SERVER_FOLDER, target: SERVER_TARGET, access: "read-only" }],
    // Isolated and without module site: nothing of the host's Python packages, and 4 ms less. Python has no heap bound of its own.
    command: ({ transport }) => [executable, "-I", "-S", "-X", "utf8", `${SERVER_TARGET}/start.py`, transport],
    environment: { HOME: "/tmp", LANG: "C.UTF-8", PATH: "/usr/local/bin:/usr/bin:/bin" },
    build: { ...NO_BUILD, manifestFiles: ["requirements.txt", "pyproject.toml", "uv.lock"], installer: "uv" },
    baseMemoryBytes: 24 * MIB,
  };
}
