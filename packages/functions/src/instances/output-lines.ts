import type { Readable } from "node:stream";

/** Output read in one period without pause; a flood beyond it waits for the next one, so that it cannot keep the server busy. */
const BURST_BYTES = 2 * 1024 * 1024;
const PERIOD_MS = 100;

/** Lines of a stream, as they come. */
export interface Lines {
  /** Gives out what is left, at the end. */
  flush(): void;
  /** Resolves when what was written until now is read, or has to wait because there is too much of it. */
  settled(): Promise<void>;
}

/** Cuts what a sandbox wrote to its real stdout or stderr into lines; of longer ones the first `maxCharacters` are given. */
export function readLines(stream: Readable, maxCharacters: number, onLine: (line: string, cut: boolean) => void): Lines {
  const decoder = new TextDecoder("utf-8");
  let rest = "";
  let cut = false;
  let burst = 0;
  let period = 0;
  const emit = (line: string) => {
    if (!cut) onLine(line.slice(0, maxCharacters), line.length > maxCharacters);
    cut = false;
  };
  stream.on("data", (chunk: Buffer) => {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) emit(line);
    if (rest.length > maxCharacters) {
      if (!cut) onLine(rest.slice(0, maxCharacters), true);
      cut = true;
      rest = "";
    }
    const now = performance.now();
    if (now - period > PERIOD_MS) {
      period = now;
      burst = 0;
    }
    burst += chunk.length;
    if (burst > BURST_BYTES) {
      burst = 0;
      stream.pause();
      setTimeout(() => stream.resume(), PERIOD_MS).unref();
    }
  });
  stream.on("error", () => undefined);
  return {
    flush() {
      if (rest !== "") emit(rest);
      rest = "";
    },
    // One whole turn of the event loop looks at every stream that has something to read.
    settled: () => new Promise((resolve) => setImmediate(() => setImmediate(resolve))),
  };
}
