import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { TreadleError } from "@treadle/errors";

const MOST_BYTES = 1024 * 1024;

/**
 * A value that shall not stand on the command line, where others see it: all of stdin without its last line feed, or, on a terminal, what is typed there, without echo.
 * @throws BAD_REQUEST when there is none, or it is too long or no text
 */
export async function readValue(prompt: string): Promise<string> {
  return process.stdin.isTTY ? typed(prompt) : piped();
}

async function typed(prompt: string): Promise<string> {
  process.stderr.write(prompt);
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  try {
    return await new Promise<string>((resolve, reject) => {
      terminal.once("SIGINT", () => reject(new TreadleError("CANCELLED", "Nothing was set.")));
      terminal.once("close", () => reject(new TreadleError("BAD_REQUEST", "No value was typed.")));
      terminal.once("line", resolve);
    });
  } finally {
    terminal.close();
    process.stderr.write("\n");
  }
}

async function piped(): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > MOST_BYTES) throw new TreadleError("BAD_REQUEST", "The value on stdin is too long.");
  }
  const content = Buffer.concat(chunks);
  const text = content.toString("utf8");
  if (!Buffer.from(text).equals(content)) throw new TreadleError("BAD_REQUEST", "The value on stdin is not UTF-8 text.");
  return text.replace(/\r?\n$/, "");
}
