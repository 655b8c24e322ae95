import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { TreadleError } from "@treadle/errors";

const VERSION = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** What a secret is of; sealed with it, so that a sealed value moved to another row does not open. */
export interface SecretPlace {
  readonly workspace: string;
  /** Null: the workspace's. */
  readonly function: string | null;
  readonly name: string;
}

/** Seals values with AES-256-GCM: version, nonce, ciphertext, tag. */
export class SecretBox {
  readonly #key: Buffer;

  /** @param key 32 bytes */
  constructor(key: Buffer) {
    this.#key = key;
  }

  seal(place: SecretPlace, value: string): Buffer {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv("aes-256-gcm", this.#key, nonce, { authTagLength: TAG_BYTES }).setAAD(boundTo(place));
    const text = Buffer.concat([cipher.update(value, "utf8"), cipher.final()]);
    return Buffer.concat([Buffer.from([VERSION]), nonce, text, cipher.getAuthTag()]);
  }

  /** @throws SECRET_UNREADABLE when it was sealed with another key, for another place, or was tampered with */
  open(place: SecretPlace, sealed: Buffer): string {
    try {
      if (sealed[0] !== VERSION || sealed.length < 1 + NONCE_BYTES + TAG_BYTES) throw new Error("an unknown form");
      const nonce = sealed.subarray(1, 1 + NONCE_BYTES);
      const tag = sealed.subarray(-TAG_BYTES);
      const cipher = createDecipheriv("aes-256-gcm", this.#key, nonce, { authTagLength: TAG_BYTES })
        .setAAD(boundTo(place))
        .setAuthTag(tag);
      return cipher.update(sealed.subarray(1 + NONCE_BYTES, -TAG_BYTES), undefined, "utf8") + cipher.final("utf8");
    } catch (error) {
      const of = place.function === null ? `the workspace ${place.workspace}` : `the function ${place.function}`;
      throw new TreadleError("SECRET_UNREADABLE", `The secret ${place.name} of ${of} cannot be read with this server's key.`, {
        details: { ...place },
        cause: error,
      });
    }
  }
}

function boundTo({ workspace, function: name, name: secret }: SecretPlace): Buffer {
  return Buffer.from(JSON.stringify(["treadle secret", workspace, name, secret]));
}
