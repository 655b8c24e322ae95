import { lstatSync, readdirSync, readFileSync, realpathSync, type Stats, statSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { invalid, TREADLE_YAML } from "./treadle-yaml.ts";

/** Folders that are never part of a function's source. */
const IGNORED = new Set(["node_modules", ".git", "__pycache__"]);
const MOST_FILES = 10_000;

/** A file to send, its path relative to the source folder. */
export interface SourceFile {
  readonly path: string;
  readonly content: Buffer;
}

/** The folder that is deployed. Nothing outside of it is read, whatever its paths and links say. */
export class DeploymentFolder {
  readonly #root: string;

  /** @throws INVALID_DEPLOYMENT when it is no folder */
  constructor(directory: string) {
    try {
      this.#root = realpathSync(directory);
    } catch {
      throw invalid([`${directory} does not exist.`]);
    }
    if (!statSync(this.#root).isDirectory()) throw invalid([`${directory} is not a folder.`]);
  }

  /** The content of a file named in treadle.yaml. `place` is where it is named. @throws INVALID_DEPLOYMENT */
  file(path: string, place: string): Buffer {
    const { real, stats } = this.#inside(path, place);
    if (!stats.isFile()) throw invalid([`${place}: ${path} is not a file`]);
    return read(real, path, place);
  }

  /** The content of a file beside another one, or null when there is none. @throws INVALID_DEPLOYMENT */
  besides(path: string, name: string, place: string): Buffer | null {
    const beside = join(dirname(path), name);
    try {
      lstatSync(resolve(this.#root, beside));
    } catch {
      return null;
    }
    return this.file(beside, place);
  }

  /** All files of a folder named in treadle.yaml, sorted. @throws INVALID_DEPLOYMENT */
  source(path: string, place: string): SourceFile[] {
    const { real, stats } = this.#inside(path, place);
    if (!stats.isDirectory()) throw invalid([`${place}: ${path} is not a folder`]);
    const files: SourceFile[] = [];
    this.#gather(real, "", [real], files, place);
    if (files.length === 0) throw invalid([`${place}: ${path} has no files`]);
    return files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
  }

  #gather(folder: string, prefix: string, above: readonly string[], files: SourceFile[], place: string): void {
    for (const name of readdirSync(folder)) {
      if (IGNORED.has(name) || (folder === this.#root && name === TREADLE_YAML)) continue;
      const shown = `${prefix}${name}`;
      const { real, stats } = this.#inside(relative(this.#root, join(folder, name)), place);
      if (stats.isDirectory()) {
        if (above.includes(real)) throw invalid([`${place}: the link ${shown} leads in a circle`]);
        this.#gather(real, `${shown}/`, [...above, real], files, place);
      } else if (stats.isFile()) {
        if (files.length === MOST_FILES) throw invalid([`${place}: more than ${MOST_FILES} files`]);
        files.push({ path: shown, content: read(real, shown, place) });
      } else throw invalid([`${place}: ${shown} is neither a file nor a folder`]);
    }
  }

  /** Where a path leads once links are followed. */
  #inside(path: string, place: string): { real: string; stats: Stats } {
    const absolute = resolve(this.#root, path);
    if (!this.#contains(absolute)) throw invalid([`${place}: ${path} lies outside of the folder`]);
    let real: string;
    let stats: Stats;
    try {
      real = realpathSync(absolute);
      stats = statSync(real);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw invalid([`${place}: ${path} ${code === "ENOENT" ? "does not exist" : `cannot be read: ${code}`}`]);
    }
    if (!this.#contains(real)) throw invalid([`${place}: the link ${path} leads out of the folder`]);
    return { real, stats };
  }

  #contains(path: string): boolean {
    return path === this.#root || path.startsWith(this.#root === sep ? sep : `${this.#root}${sep}`);
  }
}

function read(real: string, path: string, place: string): Buffer {
  try {
    return readFileSync(real);
  } catch (error) {
    throw invalid([`${place}: ${path} cannot be read: ${(error as NodeJS.ErrnoException).code}`]);
  }
}
