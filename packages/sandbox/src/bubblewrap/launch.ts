import { type ChildProcess, spawn } from "node:child_process";
import type { Duplex, Readable, Writable } from "node:stream";
import { OPTIONS_FD, SECCOMP_FD } from "./arguments.ts";

/**
 * Runs before bubblewrap in the same process, so that nothing inside ever runs outside its control groups and limits.
 * Arguments: open files, processes of the user id (or empty), seccomp file, files to join control groups, `--`, the command.
 * Bash and dash name the process limit differently.
 */
const LAUNCH_SCRIPT = `umask 022
ulimit -c 0
ulimit -n "$1" || exit 125
[ -z "$2" ] || ulimit -u "$2" 2>/dev/null || ulimit -p "$2" || exit 125
filter=$3
shift 3
while [ "$1" != -- ]; do echo 0 >"$1" || exit 125; shift; done
shift
exec "$@" ${SECCOMP_FD}<"$filter"`;

export interface Launch {
  readonly bubblewrap: string;
  readonly options: readonly string[];
  readonly command: readonly string[];
  readonly joinFiles: readonly string[];
  readonly openFiles: number;
  /** Limit of processes of the sandbox's user id; null: the control group counts. */
  readonly processes: number | null;
  readonly seccompFile: string;
}

export interface Launched {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly channel: Duplex;
  readonly stdout: Readable;
  readonly stderr: Readable;
}

function ignoreError(): void {
  // A stream whose other end died emits an error; without a listener that would end the host. Readers see the end as well.
}

/** Starts the process. Throws what the system says when it cannot be started. */
export function launch(order: Launch): Promise<Launched> {
  const child = spawn(
    "/bin/sh",
    [
      "-c",
      LAUNCH_SCRIPT,
      "sandbox",
      String(order.openFiles),
      order.processes === null ? "" : String(order.processes),
      order.seccompFile,
      ...order.joinFiles,
      "--",
      order.bubblewrap,
      "--args",
      String(OPTIONS_FD),
      "--",
      ...order.command,
    ],
    {
      cwd: "/",
      // The sandbox's environment goes through the options: it must not reach the shell and bubblewrap, which run outside.
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
      stdio: ["ignore", "pipe", "pipe", "pipe", "pipe"],
      // Own session: Ctrl-C in the server's terminal is the server's business, which then drains and kills.
      detached: true,
    },
  );
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    const { pid, stdio } = child;
    if (pid === undefined) return;
    for (const stream of stdio) stream?.on("error", ignoreError);
    const options = stdio[OPTIONS_FD] as Writable;
    options.end(`${order.options.join("\0")}\0`);
    resolve({ child, pid, channel: stdio[3] as unknown as Duplex, stdout: stdio[1] as Readable, stderr: stdio[2] as Readable });
  });
}
