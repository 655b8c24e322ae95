import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import type { Files } from "@treadle/files";
import type { BuildLogRecord } from "@treadle/store";
import type { BuildLogLine } from "../builds.ts";

/** Kept with the build's row; what is longer is in storage as a whole. */
const ROW_CHARACTERS = 64 * 1024;

/** Makes a log that is complete durable: lines of JSON, `[number, stream, text]`. */
export async function storeLog(files: Files, lines: readonly BuildLogLine[]): Promise<BuildLogRecord> {
  const texts: string[] = [];
  let size = 0;
  for (let at = lines.length - 1; at >= 0 && size < ROW_CHARACTERS; at--) {
    const text = lineText(lines[at] as BuildLogLine);
    size += text.length;
    texts.push(text);
  }
  const text = texts.reverse().join("");
  if (texts.length === lines.length) return { text, sha256: null };
  const { sha256 } = await files.blobs.put(Readable.from(encoded(lines)));
  return { text, sha256 };
}

/** The lines of a stored log after number `after`; where storage has lost it, its end. */
export async function* readLog(files: Files, log: BuildLogRecord, after: number): AsyncIterable<BuildLogLine> {
  const fromRow = log.text.split("\n").flatMap((text) => (text === "" ? [] : [parsed(text)]));
  const first = fromRow[0]?.number ?? 1;
  if (log.sha256 !== null && after + 1 < first) {
    const stored = await files.blobs.read(log.sha256).catch(() => null);
    if (stored !== null) {
      for await (const text of createInterface({ input: stored, crlfDelay: Number.POSITIVE_INFINITY })) {
        const line = parsed(text);
        if (line.number >= first) break;
        if (line.number > after) yield line;
      }
      stored.destroy();
    }
  }
  for (const line of fromRow) if (line.number > after) yield line;
}

function* encoded(lines: readonly BuildLogLine[]): Iterable<Buffer> {
  for (let at = 0; at < lines.length; at += 500)
    yield Buffer.from(
      lines
        .slice(at, at + 500)
        .map(lineText)
        .join(""),
    );
}

function lineText({ number, stream, text }: BuildLogLine): string {
  return `${JSON.stringify([number, stream, text])}\n`;
}

function parsed(text: string): BuildLogLine {
  const [number, stream, line] = JSON.parse(text) as [number, BuildLogLine["stream"], string];
  return { number, stream, text: line };
}
