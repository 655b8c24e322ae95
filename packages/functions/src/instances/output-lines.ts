import type { Readable } from "node:stream";

const MAX_LINE_CHARACTERS = 8_000;
/** Output read without pause; beyond it a flood is slowed to about ten times this a second, so that it cannot keep the server busy. */
const BURST_BYTES = 1024 * 1024;

/** Cuts what a sandbox wrote to its real stdout or stderr into lines. */
export function readLines(stream: Readable, onLine: (line: string, cut: boolean) => void): { flush(): void } {
  const decoder = new TextDecoder("utf-8");
  let rest = "";
  let cut = false;
  let burst = 0;
  const emit = (line: string) => {
    if (!cut) onLine(line.slice(0, MAX_LINE_CHARACTERS), line.length > MAX_LINE_CHARACTERS);
    cut = false;
  };
  stream.on("data", (chunk: Buffer) => {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) emit(line);
    if (rest.length > MAX_LINE_CHARACTERS) {
      if (!cut) onLine(rest.slice(0, MAX_LINE_CHARACTERS), true);
      cut = true;
      rest = "";
    }
    burst += chunk.length;
    if (burst > BURST_BYTES) {
      burst = 0;
      stream.pause();
      setTimeout(() => stream.resume(), 100).unref();
    }
  });
  stream.on("error", () => undefined);
  return {
    flush() {
      if (rest !== "") emit(rest);
      rest = "";
    },
  };
}
