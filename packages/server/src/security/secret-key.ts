import { hkdfSync, randomBytes } from "node:crypto";
import { closeSync, fstatSync, fsyncSync, linkSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { TreadleError } from "@treadle/errors";

const BYTES = 32;

/** What keys are derived for. Each has its own, so that one that leaked says nothing of the others. */
export type KeyPurpose = "link signatures" | "secrets" | "callback signatures";

/** The server's secret; never logged, never part of an answer. */
export class SecretKey {
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** A key of 32 bytes for one purpose (HKDF-SHA256, RFC 5869). */
  derive(purpose: KeyPurpose): Buffer {
    return Buffer.from(hkdfSync("sha256", this.#bytes, "treadle", purpose, BYTES));
  }
}

/**
 * The key of the settings, else that of DATA-DIRECTORY/secret.key, which is made when there is none.
 * @throws INVALID_SETTING when the file can be read by others, cannot be read by us, or holds no key
 */
export function openSecretKey(given: Buffer | null, dataDirectory: string): SecretKey {
  if (given !== null) return new SecretKey(given);
  const path = join(dataDirectory, "secret.key");
  return new SecretKey(readKey(path) ?? makeKey(dataDirectory, path));
}

function readKey(path: string): Buffer | null {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw refused(`${path} cannot be read`, error);
  }
  try {
    const { mode } = fstatSync(file);
    if ((mode & 0o077) !== 0) throw refused(`${path} can be read by others than its owner (\`chmod 600\` mends it)`);
    const text = readFileSync(file, "latin1").trim();
    const bytes = Buffer.from(text, "base64");
    if (bytes.length !== BYTES || bytes.toString("base64") !== text) throw refused(`${path} does not hold 32 bytes in base64`);
    return bytes;
  } finally {
    closeSync(file);
  }
}

/** Whole and on disk under its name, or not there at all. Where another process was first, its key is taken. */
function makeKey(dataDirectory: string, path: string): Buffer {
  const bytes = randomBytes(BYTES);
  const draft = `${path}.${process.pid}`;
  try {
    rmSync(draft, { force: true });
    writeDurably(draft, `${bytes.toString("base64")}\n`);
    linkSync(draft, path);
    const directory = openSync(dataDirectory, "r");
    fsyncSync(directory);
    closeSync(directory);
    return bytes;
  } catch (error) {
    const first = (error as NodeJS.ErrnoException).code === "EEXIST" ? readKey(path) : null;
    if (first !== null) return first;
    throw new TreadleError("STORAGE_UNAVAILABLE", `${path} cannot be written.`, { cause: error });
  } finally {
    rmSync(draft, { force: true });
  }
}

function writeDurably(path: string, text: string): void {
  const file = openSync(path, "wx", 0o600);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function refused(what: string, cause?: unknown): TreadleError {
  return new TreadleError("INVALID_SETTING", `The server's secret key: ${what}.`, {
    cause,
    details: { setting: "TREADLE_SECRET_KEY" },
  });
}
