/**
 * Puts host paths where a text names paths inside: a whole word, a part of a `:` list, or what follows `=` or `,`.
 * The longest inside path wins.
 */
export class PathTranslation {
  readonly #hostPaths: ReadonlyMap<string, string>;
  readonly #pattern: RegExp;

  constructor(pairs: Iterable<readonly [inside: string, host: string]>) {
    this.#hostPaths = new Map(pairs);
    const longestFirst = [...this.#hostPaths.keys()].sort((a, b) => b.length - a.length);
    this.#pattern = new RegExp(
      `(?<=^|[:=,])(${longestFirst.map((path) => path.replace(/[^A-Za-z0-9_/]/g, "\\$&")).join("|")})(?=$|[/:,])`,
      "g",
    );
  }

  translate(text: string): string {
    return text.replace(this.#pattern, (path) => this.#hostPaths.get(path) as string);
  }
}
