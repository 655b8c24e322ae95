import { type ChildProcess, spawn } from "node:child_process";
import type { Duplex, Readable, Writable } from "node:stream";
import { TreadleError } from "@treadle/errors";
import { INFO_FD, OPTIONS_FD, SECCOMP_FD } from "./arguments.ts";
import { inheritedDescriptors } from "./inherited-descriptors.ts";
import { findProgram } from "./machine.ts";

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
  /** Limit of processes of the sandbox's user id; null: something else counts them. */
  readonly processes: number | null;
  readonly seccompFile: string;
  /** Whether bubblewrap is asked for the id of the sandbox's pid 1. */
  readonly wantsInit: boolean;
}

export interface Launched {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly channel: Duplex;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Host's id of the sandbox's pid 1; null when it was not asked for or bubblewrap ended before it was made. */
  readonly init: Promise<number | null>;
}

function ignoreError(): void {
  // A stream whose other end died emits an error; without a listener that would end the host. Readers see the end as well.
}

async function readInit(stream: Readable | null | undefined): Promise<number | null> {
  if (!stream) return null;
  let text = "";
  try {
    for await (const chunk of stream) text += String(chunk);
    return Number((JSON.parse(text) as Record<string, unknown>)["child-pid"]) || null;
  } catch {
    return null;
  }
}

/** Starts sandboxes' outermost processes. */
export class Launcher {
  readonly #shell: string;
  readonly #script: string;

  private constructor(shell: string, script: string) {
    this.#shell = shell;
    this.#script = script;
  }

  /** Looks for descriptors that have to be closed on the way. Throws SANDBOX_UNAVAILABLE when no shell here can do that. */
  static async create(): Promise<Launcher> {
    const inherited = inheritedDescriptors(INFO_FD);
    if (inherited.length === 0) return new Launcher("/bin/sh", LAUNCH_SCRIPT);
    // POSIX shells such as dash can only name one-digit descriptors.
    const bash = await findProgram("bash");
    if (bash === null && inherited.some((descriptor) => descriptor > 9)) {
      throw new TreadleError(
        "SANDBOX_UNAVAILABLE",
        `Descriptors ${inherited.join(", ")} were open when the server was started and would reach the sandboxes; start it without them, or install bash, which can close them.`,
      );
    }
    const closing = `exec ${inherited.map((descriptor) => `${descriptor}<&-`).join(" ")}\n`;
    return new Launcher(bash ?? "/bin/sh", closing + LAUNCH_SCRIPT);
  }

  /** Starts the process. Throws what the system says when it cannot be started. */
  start(order: Launch): Promise<Launched> {
    const limits = [String(order.openFiles), order.processes === null ? "" : String(order.processes), order.seccompFile];
    const descriptors = ["--args", String(OPTIONS_FD), ...(order.wantsInit ? ["--info-fd", String(INFO_FD)] : [])];
    const child = spawn(
      this.#shell,
      [
        ...["-c", this.#script, "sandbox", ...limits, ...order.joinFiles, "--"],
        ...[order.bubblewrap, ...descriptors, "--", ...order.command],
      ],
      {
        cwd: "/",
        // The sandbox's environment goes through the options: it must not reach the shell and bubblewrap, which run outside.
        env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
        stdio: ["ignore", "pipe", "pipe", "pipe", "pipe", ...(order.wantsInit ? (["pipe"] as const) : [])],
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
      resolve({
        child,
        pid,
        channel: stdio[3] as unknown as Duplex,
        stdout: stdio[1] as Readable,
        stderr: stdio[2] as Readable,
        init: readInit((stdio as readonly unknown[])[INFO_FD] as Readable | undefined),
      });
    });
  }
}
