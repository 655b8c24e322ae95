const LIMIT = 64 * 1024;

/** The end of what an installer prints, made safe to show: no control characters, none of the operator's credentials. */
export class LiveLog {
  readonly #secrets: string[] = [];
  readonly #changed: () => void;
  #text = "";
  /** Of each stream, the beginning of a line whose end has not come yet. */
  readonly #partial = new Map<string, string>();

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  /** From now on these texts are shown as stars. */
  hide(secrets: readonly string[]): void {
    this.#secrets.push(...secrets.filter((secret) => secret.length >= 4));
  }

  get text(): string {
    return this.#text;
  }

  /** Takes a piece of output of one stream. Only whole lines are shown, so that no secret slips through in two pieces. */
  write(stream: string, chunk: string): void {
    const pending = (this.#partial.get(stream) ?? "") + chunk;
    const end = pending.lastIndexOf("\n") + 1;
    const rest = pending.slice(end);
    // One endless line is cut into pieces rather than gathered.
    const whole = rest.length > LIMIT ? pending : pending.slice(0, end);
    this.#partial.set(stream, rest.length > LIMIT ? "" : rest);
    if (whole !== "") this.#append(whole);
  }

  /** Shows a line of our own, and what the streams left without end of line. */
  line(text = ""): void {
    const left = [...this.#partial.values()].filter((rest) => rest !== "");
    this.#partial.clear();
    this.#append([...left, ...(text === "" ? [] : [text])].map((each) => `${each}\n`).join(""));
  }

  #append(raw: string): void {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are what is being removed.
    let text = raw.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "").replace(/\r\n?/g, "\n");
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is being removed.
    text = text.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, "").toWellFormed();
    for (const secret of this.#secrets) text = text.replaceAll(secret, "***");
    this.#text = (this.#text + text).slice(-LIMIT);
    this.#changed();
  }
}
