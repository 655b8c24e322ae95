import { StringDecoder } from "node:string_decoder";

const LINE_CHARACTERS = 4000;
const CUT = "... (line cut)";

/** Turns one stream of hostile output into lines that can be shown: no control characters, no endless ones, memory bounded. */
export class LineSplitter {
  readonly #decoder = new StringDecoder("utf8");
  readonly #onLine: (text: string) => void;
  #partial = "";
  #cut = false;

  constructor(onLine: (text: string) => void) {
    this.#onLine = onLine;
  }

  write(chunk: Buffer): void {
    this.#take(this.#decoder.write(chunk));
  }

  /** Shows what was left without end of line. */
  end(): void {
    this.#take(this.#decoder.end());
    if (this.#partial !== "") this.#emit();
  }

  #take(text: string): void {
    let from = 0;
    // A carriage return alone is how progress bars draw over themselves.
    for (const { index, 0: separator } of text.matchAll(/\r\n|\n|\r/g)) {
      this.#add(text.slice(from, index));
      if (this.#partial !== "" || separator !== "\r") this.#emit();
      from = index + separator.length;
    }
    this.#add(text.slice(from));
  }

  #add(text: string): void {
    const room = LINE_CHARACTERS - this.#partial.length;
    if (text.length > room) this.#cut = true;
    if (room > 0) this.#partial += text.slice(0, room);
  }

  #emit(): void {
    const text = cleaned(this.#partial) + (this.#cut ? CUT : "");
    this.#partial = "";
    this.#cut = false;
    this.#onLine(text);
  }
}

/** Without colours and control characters, which could forge what a terminal shows. */
export function cleaned(text: string): string {
  return (
    text
      // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are what is being removed.
      .replace(/\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?/g, "")
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is being removed.
      .replace(/[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]/g, "")
      .toWellFormed()
  );
}
