import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** A program of test/programs in a process of its own. */
export class ChildProgram implements AsyncDisposable {
  readonly process: ChildProcess;
  /** What it has printed so far. */
  readonly lines: string[] = [];
  readonly exited: Promise<unknown>;
  #arrived = Promise.withResolvers<void>();

  constructor(name: string, args: string[], options: { prefix?: string[] } = {}) {
    const program = fileURLToPath(new URL(`programs/${name}.ts`, import.meta.url));
    const [command = "", ...rest] = [...(options.prefix ?? []), process.execPath, program, ...args];
    this.process = spawn(command, rest, { stdio: ["pipe", "pipe", "inherit"], cwd: "/", env: { PATH: process.env.PATH } });
    this.exited = once(this.process, "exit");
    if (this.process.stdout !== null) {
      createInterface(this.process.stdout).on("line", (line) => {
        this.lines.push(line);
        this.#arrived.resolve();
        this.#arrived = Promise.withResolvers();
      });
    }
  }

  /** The first line it prints; a note of its end when it ends without one. */
  async firstLine(): Promise<string> {
    while (this.lines.length === 0) {
      const ended = this.exited.then(() => true);
      if (await Promise.race([this.#arrived.promise.then(() => false), ended])) break;
    }
    return this.lines[0] ?? `ended with ${this.process.exitCode ?? this.process.signalCode}`;
  }

  async kill(): Promise<void> {
    this.process.kill("SIGKILL");
    await this.exited;
  }

  /** Ends its input, which asks it to close, and waits for its end. */
  async finish(): Promise<void> {
    this.process.stdin?.end();
    await this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) await this.finish();
  }
}
