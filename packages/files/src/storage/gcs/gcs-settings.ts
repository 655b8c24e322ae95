import { readFile } from "node:fs/promises";
import type { StorageOptions } from "@google-cloud/storage";
import { IdempotencyStrategy } from "@google-cloud/storage";
import { TreadleError } from "@treadle/errors";
import { readCloudUrl, yesOrNo } from "../cloud/cloud-url.ts";

/** What a storage URL `gs://bucket/prefix?…` and the environment say. */
export interface GcsSettings {
  readonly bucket: string;
  readonly prefix: string;
  readonly client: StorageOptions;
  /** Whether requests carry credentials. */
  readonly authenticate: boolean;
  /** Whether it is Google's own service. */
  readonly google: boolean;
  /** Whether there is a private key to sign addresses with, and they may be handed out. */
  readonly presign: boolean;
}

/**
 * Query words: `endpoint` (an http:// one is an emulator and gets no credentials), `presign` (no: hand out no addresses). Credentials: the file
 * GOOGLE_APPLICATION_CREDENTIALS, else the SDK's chain (gcloud's own file, the machine's service account).
 * @throws INVALID_SETTING
 */
export async function readGcsSettings(url: URL, environment: Readonly<Record<string, string | undefined>>): Promise<GcsSettings> {
  const { bucket, prefix, words, endpoint } = readCloudUrl(url, ["endpoint", "presign"]);
  const keyFilename = environment.GOOGLE_APPLICATION_CREDENTIALS;
  const type = keyFilename ? await readCredentialsType(keyFilename) : null;
  const authenticate = endpoint?.protocol !== "http:";
  return {
    bucket,
    prefix,
    authenticate,
    google: endpoint === null || /(^|\.)googleapis\.com$/.test(endpoint.hostname),
    presign: yesOrNo("presign", words.presign, true) && type === "service_account",
    client: {
      ...(endpoint === null ? {} : { apiEndpoint: endpoint.href.replace(/\/+$/, ""), useAuthWithCustomEndpoint: authenticate }),
      ...(keyFilename ? { keyFilename } : {}),
      timeout: 60_000,
      retryOptions: {
        autoRetry: true,
        maxRetries: 3,
        maxRetryDelay: 8,
        totalTimeout: 60,
        // A key has only ever one content, so every request may be made twice.
        idempotencyStrategy: IdempotencyStrategy.RetryAlways,
      },
    },
  };
}

/** The kind of credentials in a file. Only a service account's key can sign without asking Google. */
async function readCredentialsType(path: string): Promise<string> {
  try {
    const { type } = JSON.parse(await readFile(path, "utf8")) as { type?: unknown };
    if (typeof type === "string") return type;
  } catch {
    // Said below, without the parser's words, which may quote the file.
  }
  throw new TreadleError("INVALID_SETTING", `GOOGLE_APPLICATION_CREDENTIALS: ${path} is not a readable file of credentials.`);
}
