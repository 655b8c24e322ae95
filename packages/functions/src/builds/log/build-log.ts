import { type Mask, maskOf } from "../../variables/mask.ts";
import type { BuildLogLine } from "../builds.ts";
import { cleaned, LineSplitter } from "./line-splitter.ts";

/** What a line costs besides its text: a million empty ones are not free. */
const LINE_COST = 64;
const LAST_LINES = 20;

/** The log of a build at work: bounded, followed by any number of readers while it grows. */
export class BuildLog {
  readonly lines: BuildLogLine[] = [];
  readonly #maxBytes: number;
  #hidden: readonly string[] = [];
  #mask: Mask | null = null;
  #bytes = 0;
  #full = false;
  #closed = false;
  #last: string[] = [];
  #changed = Promise.withResolvers<void>();

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** From now on these texts are shown as stars, also encoded (a Basic authorization). */
  hide(secrets: readonly string[]): void {
    if (secrets.length === 0) return;
    this.#hidden = [...this.#hidden, ...secrets];
    this.#mask = maskOf(this.#hidden);
  }

  /** A line of our own; never dropped, since there are few. */
  say(text: string): void {
    this.#push("treadle", this.#masked(cleaned(text)));
  }

  /** Where the output of one step goes. `end` it when the step has ended. */
  output(): { write(stream: "stdout" | "stderr", chunk: Buffer): void; end(): void; readonly lastLines: readonly string[] } {
    this.#last = [];
    const splitters = {
      stdout: new LineSplitter((text) => this.#take("stdout", text)),
      stderr: new LineSplitter((text) => this.#take("stderr", text)),
    };
    const log = this;
    return {
      write: (stream, chunk) => splitters[stream].write(chunk),
      end() {
        splitters.stdout.end();
        splitters.stderr.end();
      },
      get lastLines() {
        return log.#last;
      },
    };
  }

  /** Nothing comes any more. */
  close(): void {
    this.#closed = true;
    this.#notify();
  }

  /** The lines after number `after`, as they come, until the log is closed. */
  async *follow(after: number, signal: AbortSignal | undefined): AsyncIterable<BuildLogLine> {
    const aborted = Promise.withResolvers<void>();
    const abort = () => aborted.resolve();
    signal?.addEventListener("abort", abort);
    try {
      for (let at = Math.max(0, after); signal?.aborted !== true; ) {
        const line = this.lines[at];
        if (line !== undefined) {
          at++;
          yield line;
        } else if (this.#closed) return;
        else await Promise.race([this.#changed.promise, aborted.promise]);
      }
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  #take(stream: "stdout" | "stderr", raw: string): void {
    const text = this.#masked(raw);
    this.#last.push(text);
    if (this.#last.length > LAST_LINES) this.#last.shift();
    if (this.#full) return;
    if (this.#bytes + Buffer.byteLength(text) + LINE_COST > this.#maxBytes) {
      this.#full = true;
      this.say(`The log is cut here: it would be longer than ${this.#maxBytes} bytes.`);
      return;
    }
    this.#push(stream, text);
  }

  #masked(text: string): string {
    return this.#mask === null ? text : this.#mask(text);
  }

  #push(stream: BuildLogLine["stream"], text: string): void {
    this.#bytes += Buffer.byteLength(text) + LINE_COST;
    this.lines.push({ number: this.lines.length + 1, stream, text });
    this.#notify();
  }

  #notify(): void {
    const { resolve } = this.#changed;
    this.#changed = Promise.withResolvers();
    resolve();
  }
}
