import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { AZURE_ACCOUNT, CONTAINER, startAzurite } from "../servers/azure-server.ts";
import { GCS_BUCKET, startGcsEmulator } from "../servers/gcs-server.ts";
import { BUCKET, S3_KEYS, startMoto, startS3rver } from "../servers/s3-servers.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** What the contract's tests look at where a place cannot show it; the word is the reason of the skip. */
export type Unseen = Partial<
  Record<"presign" | "expiry" | "keys" | "unfinished" | "outage" | "missing bucket" | "signatures" | "first byte" | "age", string>
>;

/** A place that the contract is tested on. */
export interface Place extends AsyncDisposable {
  /** Of a bucket, without a prefix; more words may follow. */
  readonly url: string;
  readonly environment: Environment;
  /** Credentials that the place must refuse. */
  readonly wrongEnvironment?: Environment;
  readonly unseen: Unseen;
  /** Ends the service; only of services that the tests have started. */
  stop?(): Promise<void>;
}

/** How to get each place. Those that need programs which cannot be had here reject. */
export const PLACES: Readonly<Record<string, () => Promise<Place>>> = {
  async local() {
    const folder = await mkdtemp(join(tmpdir(), "treadle-local-storage-"));
    return {
      url: pathToFileURL(folder).href,
      environment: {},
      unseen: {
        presign: "the local driver hands out no addresses",
        keys: "the local driver has no keys",
        unfinished: "the local driver has no multipart uploads; its own sweep is tested with it",
        outage: "there is no service that could be gone",
        "missing bucket": "the local driver makes its folder",
      },
      [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
    };
  },

  async "S3 (s3rver)"() {
    const server = await startS3rver();
    return {
      url: `s3://${BUCKET}?endpoint=${server.origin}`,
      environment: S3_KEYS,
      wrongEnvironment: { AWS_ACCESS_KEY_ID: "SOMEBODY", AWS_SECRET_ACCESS_KEY: "something-else" },
      unseen: {
        signatures: "s3rver does not check them",
        unfinished: "s3rver has no list of unfinished uploads",
        "first byte": "s3rver takes bytes=0-0 for everything",
      },
      stop: server.stop,
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    };
  },

  async "S3 (moto)"() {
    const server = await startMoto();
    return {
      url: `s3://${BUCKET}?endpoint=${server.origin}`,
      environment: S3_KEYS,
      unseen: {
        expiry: "moto does not look at expiry",
        keys: "moto does not check signatures",
        age: "moto gives every upload the same time",
      },
      stop: server.stop,
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    };
  },

  async "Azure (Azurite)"() {
    const server = await startAzurite();
    return {
      url: `azblob://${CONTAINER}?endpoint=${server.origin}/${AZURE_ACCOUNT.AZURE_STORAGE_ACCOUNT}`,
      environment: AZURE_ACCOUNT,
      wrongEnvironment: { ...AZURE_ACCOUNT, AZURE_STORAGE_KEY: Buffer.from("another key").toString("base64") },
      unseen: { unfinished: "Azure drops uncommitted blocks by itself" },
      stop: server.stop,
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    };
  },

  async "GCS (gcp-storage-emulator)"() {
    const server = await startGcsEmulator();
    const folder = await mkdtemp(join(tmpdir(), "treadle-gcs-key-"));
    const keyFile = join(folder, "key.json");
    await writeFile(keyFile, serviceAccountKey());
    return {
      url: `gs://${GCS_BUCKET}?endpoint=${server.origin}`,
      environment: { GOOGLE_APPLICATION_CREDENTIALS: keyFile },
      unseen: {
        expiry: "the emulator does not look at expiry",
        keys: "the emulator does not check credentials",
        unfinished: "GCS drops unfinished uploads by itself",
      },
      stop: server.stop,
      async [Symbol.asyncDispose]() {
        await server[Symbol.asyncDispose]();
        await rm(folder, { recursive: true, force: true });
      },
    };
  },

  // A bucket of one's own, with credentials from the environment. The tests keep to a prefix and clean up.
  ...(process.env.TREADLE_TEST_STORAGE_URL !== undefined && {
    async TREADLE_TEST_STORAGE_URL() {
      return {
        url: process.env.TREADLE_TEST_STORAGE_URL as string,
        environment: process.env,
        unseen: {
          keys: "we know no wrong keys",
          outage: "the service is not ours to end",
          "missing bucket": "a name could be taken",
        },
        async [Symbol.asyncDispose]() {},
      };
    },
  }),
};

/** A key file as Google gives them, for an account that does not exist: enough to sign with. */
function serviceAccountKey(): string {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return JSON.stringify({
    type: "service_account",
    project_id: "treadle-test",
    private_key_id: "1",
    private_key: privateKey.export({ type: "pkcs8", format: "pem" }),
    client_email: "test@treadle-test.iam.gserviceaccount.com",
    client_id: "1",
    token_uri: "http://127.0.0.1:9/token",
  });
}
