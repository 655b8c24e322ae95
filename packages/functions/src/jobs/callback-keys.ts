import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from "node:crypto";
import { TreadleError } from "@treadle/errors";

const PREFIX = "whsec_";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Keys that callbacks are signed with: one per workspace, or one given with the call, which is sealed before it is stored. */
export class CallbackKeys {
  readonly #secret: Buffer;

  /** `secret`: 32 bytes, the server's alone. */
  constructor(secret: Buffer) {
    this.#secret = secret;
  }

  /** The key of a workspace, 32 bytes. */
  ofWorkspace(workspace: string): Buffer {
    return this.#derive(`workspace ${workspace}`);
  }

  /** Seals a key that a caller gave (`whsec_` and base64 of 24 to 64 bytes, as Standard Webhooks writes them). @throws BAD_REQUEST */
  seal(text: string, executionId: string): Buffer {
    const base64 = text.startsWith(PREFIX) ? text.slice(PREFIX.length) : "";
    const key = Buffer.from(base64, "base64");
    if (key.length < 24 || key.length > 64 || key.toString("base64") !== base64)
      throw new TreadleError("BAD_REQUEST", "callback.key: write it as whsec_ and base64 of 24 to 64 bytes.");
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv("aes-256-gcm", this.#derive("sealing"), nonce).setAAD(Buffer.from(executionId));
    return Buffer.concat([nonce, cipher.update(key), cipher.final(), cipher.getAuthTag()]);
  }

  /** @throws Error when it was sealed with another secret or for another execution */
  open(sealed: Buffer, executionId: string): Buffer {
    const cipher = createDecipheriv("aes-256-gcm", this.#derive("sealing"), sealed.subarray(0, NONCE_BYTES))
      .setAAD(Buffer.from(executionId))
      .setAuthTag(sealed.subarray(-TAG_BYTES));
    return Buffer.concat([cipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), cipher.final()]);
  }

  #derive(purpose: string): Buffer {
    return Buffer.from(hkdfSync("sha256", this.#secret, "treadle callbacks", purpose, 32));
  }
}

/** A key as Standard Webhooks writes it. */
export function keyText(key: Buffer): string {
  return `${PREFIX}${key.toString("base64")}`;
}

/** Headers of a message by Standard Webhooks 1.0 (standardwebhooks.com): `id` is the same for all attempts of a message. */
export function signedHeaders(key: Buffer, id: string, seconds: number, body: string): Record<string, string> {
  const signature = createHmac("sha256", key).update(`${id}.${seconds}.${body}`).digest("base64");
  return { "webhook-id": id, "webhook-timestamp": String(seconds), "webhook-signature": `v1,${signature}` };
}
