import { createHash, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { TreadleError } from "@treadle/errors";
import type { Settings } from "../settings/settings.ts";

const LEAST_CHARACTERS = 32;

/** Compares what a request carries with the admin key, in time that does not depend on either. */
export class AdminKey {
  readonly #digest: Buffer;

  constructor(key: string) {
    this.#digest = createHash("sha256").update(key).digest();
  }

  /** @throws UNAUTHORIZED */
  check(authorization: string | undefined): void {
    if (this.fits(authorization)) return;
    const sent = bearer(authorization);
    throw new TreadleError("UNAUTHORIZED", sent === undefined ? "The request carries no key." : "The key is wrong.");
  }

  /** Whether an `Authorization` header carries the key. */
  fits(authorization: string | undefined): boolean {
    const sent = bearer(authorization);
    return sent !== undefined && timingSafeEqual(createHash("sha256").update(sent).digest(), this.#digest);
  }
}

function bearer(authorization: string | undefined): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(authorization ?? "")?.[1];
}

/**
 * The admin key of the settings, null when there is none.
 * @throws INVALID_SETTING when it is too short, its file cannot be read, or the listen address needs one and there is none
 */
export function adminKeyOf(settings: Settings): AdminKey | null {
  let key = settings.adminKey;
  if (key === null && settings.adminKeyFile !== null) {
    try {
      key = readFileSync(settings.adminKeyFile, "utf8").trim();
    } catch (error) {
      throw new TreadleError("INVALID_SETTING", `TREADLE_ADMIN_KEY_FILE: ${settings.adminKeyFile} cannot be read.`, {
        cause: error,
      });
    }
  }
  if (key !== null && (key.length < LEAST_CHARACTERS || /\s/.test(key))) {
    throw new TreadleError(
      "INVALID_SETTING",
      `The admin key must have at least ${LEAST_CHARACTERS} characters and no white space; \`openssl rand -hex 32\` makes one.`,
    );
  }
  if (key === null && !isLoopbackAddress(settings.host)) {
    throw new TreadleError(
      "INVALID_SETTING",
      `Listening on ${settings.host} needs an admin key, since others can reach it: set TREADLE_ADMIN_KEY (\`openssl rand -hex 32\` makes one), or listen on 127.0.0.1.`,
    );
  }
  return key === null ? null : new AdminKey(key);
}

/** Whether an address to listen on is only reachable from this machine. */
export function isLoopbackAddress(address: string): boolean {
  return address === "localhost" || address === "::1" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(address);
}
