import { sizeText, spanText } from "./amounts.ts";
import { nameText } from "./file-view.ts";

const REDRAW_MS = 100;
const LINE_MS = 1_000;
/** The rate is that of the last seconds. */
const WINDOW_MS = 5_000;

/** How far a transfer is, on stderr: one line that is redrawn on a terminal, a line a second elsewhere. */
export class Progress implements Disposable {
  readonly #label: string;
  readonly #shown: boolean;
  readonly #samples: { at: number; bytes: number }[] = [];
  #last: number;
  #drawn = false;

  /** Shown on a terminal, and wherever else it was asked for (`wanted`); never when `wanted` is false. */
  constructor(label: string, wanted: boolean | undefined) {
    this.#label = nameText(label);
    this.#shown = wanted ?? process.stderr.isTTY === true;
    this.#last = performance.now();
  }

  /** `total`: null when it is not known. */
  update(bytes: number, total: number | null): void {
    if (!this.#shown) return;
    const now = performance.now();
    if (this.#samples.length > 0 && now - this.#last < (process.stderr.isTTY ? REDRAW_MS : LINE_MS)) return;
    this.#last = now;
    this.#samples.push({ at: now, bytes });
    while (this.#samples.length > 2 && now - (this.#samples[0]?.at ?? now) > WINDOW_MS) this.#samples.shift();
    const line = this.#text(bytes, total);
    if (!process.stderr.isTTY) process.stderr.write(`${line}\n`);
    else {
      process.stderr.write(`\r\x1b[K${line.slice(0, (process.stderr.columns || 80) - 1)}`);
      this.#drawn = true;
    }
  }

  /** Takes the line away, so that something else can be said. */
  clear(): void {
    if (this.#drawn) process.stderr.write("\r\x1b[K");
    this.#drawn = false;
  }

  [Symbol.dispose](): void {
    this.clear();
  }

  #text(bytes: number, total: number | null): string {
    const first = this.#samples[0] as { at: number; bytes: number };
    const seconds = (this.#last - first.at) / 1000;
    const rate = seconds > 0 ? (bytes - first.bytes) / seconds : 0;
    const parts = [total === null ? sizeText(bytes) : `${sizeText(bytes)} of ${sizeText(total)}`];
    if (total !== null && total > 0) parts.push(`${Math.floor((100 * bytes) / total)} %`);
    if (rate > 0) parts.push(`${sizeText(rate)}/s`);
    if (rate > 0 && total !== null && bytes < total) parts.push(`${spanText((total - bytes) / rate)} left`);
    // What may be long comes last, where a narrow terminal cuts it.
    return `${parts.join("  ")}  ${this.#label}`;
  }
}
