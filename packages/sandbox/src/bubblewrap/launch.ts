import { type ChildProcess, spawn } from "node:child_process";
import type { Duplex, Readable, Writable } from "node:stream";
import { TreadleError } from "@treadle/errors";
import type { ControlGroup } from "../cgroup/control-group.ts";
import { INFO_FD, OPTIONS_FD, SECCOMP_FD } from "./arguments.ts";
import { inheritedDescriptors } from "./inherited-descriptors.ts";
import { findProgram } from "./machine.ts";

/** A word that a POSIX shell takes literally. */
function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

export interface Launch {
  readonly bubblewrap: string;
  readonly options: readonly string[];
  readonly command: readonly string[];
  readonly openFiles: number;
  /** Limit of processes of the sandbox's user id; null: something else counts them. */
  readonly processes: number | null;
  readonly seccompFile: string;
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

/**
 * A shell that waits in its control group for the order to become bubblewrap. Made ahead of need, since joining a group can
 * take the kernel several milliseconds (it waits for an RCU grace period) and starting a process takes a few more.
 */
export class Prepared {
  readonly group: ControlGroup;
  readonly #child: ChildProcess;

  constructor(group: ControlGroup, child: ChildProcess) {
    this.group = group;
    this.#child = child;
    child.on("error", ignoreError);
    for (const stream of child.stdio) stream?.on("error", ignoreError);
  }

  /** False when the shell could not be started or has ended. */
  get alive(): boolean {
    const { pid, exitCode, signalCode } = this.#child;
    return pid !== undefined && exitCode === null && signalCode === null;
  }

  /** Whether this process keeps the host's event loop from ending. */
  hold(held: boolean): void {
    for (const handle of [this.#child, ...this.#child.stdio] as { ref?: () => void; unref?: () => void }[]) {
      if (held) handle?.ref?.();
      else handle?.unref?.();
    }
  }

  /** Ends a shell that was not used, and removes its group. */
  async discard(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.group.remove();
  }

  /** Becomes the sandbox. */
  start(order: Launch): Launched {
    const { pid, stdio } = this.#child;
    if (pid === undefined) throw new Error("the shell that starts it could not be started");
    const wantsInit = stdio.length > INFO_FD;
    const descriptors = ["--args", String(OPTIONS_FD), ...(wantsInit ? ["--info-fd", String(INFO_FD)] : [])];
    const words = [order.bubblewrap, ...descriptors, "--", ...order.command].map(quote).join(" ");
    const limits = [`ulimit -n ${order.openFiles} || exit 125`];
    // Bash and dash name this limit differently.
    if (order.processes !== null)
      limits.push(`ulimit -u ${order.processes} 2>/dev/null || ulimit -p ${order.processes} || exit 125`);
    const exec = `exec ${words} ${SECCOMP_FD}<${quote(order.seccompFile)} </dev/null`;
    (stdio[OPTIONS_FD] as Writable).end(`${order.options.join("\0")}\0`);
    (stdio[0] as Writable).end(`${limits.join("\n")}\n${exec}\n`);
    return {
      child: this.#child,
      pid,
      channel: stdio[3] as unknown as Duplex,
      stdout: stdio[1] as Readable,
      stderr: stdio[2] as Readable,
      init: readInit((stdio as readonly unknown[])[INFO_FD] as Readable | undefined),
    };
  }
}

/** Starts the shells that become sandboxes. Everything they do before is done in the same process: nothing inside ever runs outside its group. */
export class Launcher {
  readonly #shell: string;
  readonly #preamble: string;
  readonly #wantsInit: boolean;

  private constructor(shell: string, preamble: string, wantsInit: boolean) {
    this.#shell = shell;
    this.#preamble = preamble;
    this.#wantsInit = wantsInit;
  }

  /**
   * Looks for descriptors that have to be closed on the way. `wantsInit`: bubblewrap shall tell the id of the sandbox's pid 1.
   * Throws SANDBOX_UNAVAILABLE when no shell here can close what is open.
   */
  static async create(wantsInit: boolean): Promise<Launcher> {
    const preamble = "umask 022\nulimit -c 0\n";
    const inherited = inheritedDescriptors(INFO_FD);
    if (inherited.length === 0) return new Launcher("/bin/sh", preamble, wantsInit);
    // POSIX shells such as dash can only name one-digit descriptors.
    const bash = await findProgram("bash");
    if (bash === null && inherited.some((descriptor) => descriptor > 9)) {
      throw new TreadleError(
        "SANDBOX_UNAVAILABLE",
        `Descriptors ${inherited.join(", ")} were open when the server was started and would reach the sandboxes; start it without them, or install bash, which can close them.`,
      );
    }
    const closing = `exec ${inherited.map((descriptor) => `${descriptor}<&-`).join(" ")}\n`;
    return new Launcher(bash ?? "/bin/sh", closing + preamble, wantsInit);
  }

  /** Starts a shell that joins `group` and waits. */
  prepare(group: ControlGroup): Prepared {
    const pipes = Array<"pipe">(this.#wantsInit ? INFO_FD + 1 : OPTIONS_FD + 1).fill("pipe");
    const child = spawn(this.#shell, ["-s"], {
      cwd: "/",
      // The sandbox's environment goes through the options: it must not reach the shell and bubblewrap, which run outside.
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
      stdio: pipes,
      // Own session: Ctrl-C in the server's terminal is the server's business, which then drains and kills.
      detached: true,
    });
    const prepared = new Prepared(group, child);
    const joining = group.joinFiles.map((file) => `echo 0 >${quote(file)} || exit 125\n`).join("");
    (child.stdio[0] as Writable | null)?.write(this.#preamble + joining);
    return prepared;
  }
}
