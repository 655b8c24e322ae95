import { pipeline } from "node:stream/promises";
import { type Bucket, type File, Storage } from "@google-cloud/storage";
import { TreadleError } from "@treadle/errors";
import { attachment } from "../cloud/attachment.ts";
import { type CloudFailures, cloudFailures, statusOf } from "../cloud/cloud-failure.ts";
import { confirmKept } from "../cloud/confirm-kept.ts";
import { objectKeys } from "../cloud/object-keys.ts";
import type { OpenCloudDriver } from "../cloud/open-cloud-driver.ts";
import { WHOLE_UP_TO } from "../cloud/part-plan.ts";
import { answeredBody } from "../cloud/received-body.ts";
import { resend } from "../cloud/resend.ts";
import { digestWhole, openPart } from "../cloud/staged-part.ts";
import { limitStall, limitTime, raceSignal } from "../cloud/time-limits.ts";
import type { StagedBytes, StorageDriver } from "../storage-driver.ts";
import { readGcsObject } from "./gcs-read.ts";
import { type GcsSettings, readGcsSettings } from "./gcs-settings.ts";

/** Resumable uploads are sent in pieces of this size, each of which is kept until it is acknowledged. */
const CHUNK_SIZE = 8 * 1024 * 1024;

/**
 * Keeps bytes in a bucket of Google Cloud Storage.
 * @throws INVALID_SETTING, STORAGE_UNAVAILABLE
 */
export const openGcsDriver: OpenCloudDriver = async ({ url, environment }) => {
  const settings = await readGcsSettings(url, environment);
  const bucket = new Storage(settings.client).bucket(settings.bucket);
  const failures = cloudFailures(`The GCS bucket ${settings.bucket}`, []);
  await checkBucket(bucket, settings, failures);
  return gcsDriver(bucket, settings, settings.google ? await readRegion(bucket) : null, failures);
};

function gcsDriver(
  bucket: Bucket,
  { prefix, google, presign, authenticate }: GcsSettings,
  region: string | null,
  { failure, missing }: CloudFailures,
): StorageDriver {
  const keys = objectKeys(prefix);
  const at = (sha256: string) => bucket.file(keys.of(sha256));

  /** The library takes no signals: a call that is too slow is left to itself, within the time limit of its own. */
  const call = async <T>(doing: string, work: Promise<T>): Promise<T> => {
    using limit = limitTime(undefined);
    try {
      return await raceSignal(work, limit.signal);
    } catch (error) {
      throw statusOf(error) === 404 ? error : failure(doing, error);
    }
  };

  const size = async (sha256: string) => {
    try {
      const [metadata] = await call("looking for a file", at(sha256).getMetadata());
      return Number(metadata.size);
    } catch (error) {
      if (statusOf(error) === 404) return null;
      throw error;
    }
  };

  return {
    kind: "gcs",
    location: { cloud: google ? "gcp" : null, region },

    async put(staged, signal) {
      const file = at(staged.sha256);
      signal?.throwIfAborted();
      using stall = limitStall(signal);
      try {
        // The library sends again only what it has kept; from our file it can all be sent again.
        await resend(() => putGcsObject(file, staged, stall), stall.signal);
      } catch (error) {
        throw failure("keeping a file", error, signal, stall.signal);
      }
      await confirmKept(this, staged, failure);
    },

    size,

    async read(sha256, range, signal) {
      using limit = limitTime(signal);
      try {
        const asked = { range, authenticate, signal: limit.signal };
        const { source, length } = await readGcsObject(bucket.storage, at(sha256), asked);
        const told = (error: unknown) => failure("giving a file", error, signal);
        return answeredBody(source, length, range, { failure: told, signal });
      } catch (error) {
        if (!signal?.aborted && (statusOf(error) === 404 || statusOf(error) === 416)) throw missing(sha256);
        throw failure("giving a file", error, signal, limit.signal);
      }
    },

    async delete(sha256) {
      await call("deleting a file", at(sha256).delete({ ignoreNotFound: true }));
    },

    async *list() {
      let after: string | undefined;
      do {
        const query = { prefix: keys.prefix, autoPaginate: false, ...(after === undefined ? {} : { pageToken: after }) };
        const [files, next] = await call("listing files", bucket.getFiles(query));
        for (const { name, metadata } of files) {
          const sha256 = keys.digestOf(name);
          if (sha256 !== null) yield { sha256, size: Number(metadata.size ?? 0) };
        }
        after = (next as { pageToken?: string } | null)?.pageToken;
      } while (after !== undefined);
    },

    // An upload that was not finished is in no list, and the service drops it after a week.
    async sweep() {},

    ...(presign &&
      ({
        async presign(sha256, { expiresSeconds, fileName, mimeType }) {
          const expiresAt = Date.now() + expiresSeconds * 1000;
          const [url] = await call(
            "signing an address",
            at(sha256).getSignedUrl({
              version: "v4",
              action: "read",
              expires: expiresAt,
              responseDisposition: attachment(fileName),
              responseType: mimeType,
            }),
          );
          return { url, expiresAt };
        },
      } satisfies Pick<StorageDriver, "presign">)),

    async [Symbol.asyncDispose]() {},
  };
}

/** Sends a file, in one request or in acknowledged pieces; the service makes the object only when the whole has the MD5 that was announced. */
async function putGcsObject(file: File, staged: StagedBytes, stall: ReturnType<typeof limitStall>): Promise<void> {
  const whole = { start: 0, length: staged.size };
  const { md5 } = await digestWhole(staged, stall.signal);
  const resumable = staged.size > WHOLE_UP_TO;
  const upload = file.createWriteStream({
    resumable,
    ...(resumable ? { chunkSize: CHUNK_SIZE } : {}),
    validation: false,
    metadata: { contentType: "application/octet-stream", md5Hash: md5.toString("base64") },
  });
  await pipeline(stall.watch(openPart(staged.path, whole)), upload, { signal: stall.signal });
}

async function checkBucket(bucket: Bucket, { prefix }: GcsSettings, { failure, words }: CloudFailures): Promise<void> {
  using limit = limitTime(undefined);
  try {
    await raceSignal(bucket.getFiles({ prefix, autoPaginate: false, maxResults: 1 }), limit.signal);
  } catch (error) {
    const invalid = (what: string) => new TreadleError("INVALID_SETTING", what);
    if (statusOf(error) === 404) {
      throw invalid(
        `TREADLE_STORAGE_URL: there is no bucket ${bucket.name} (${words(error)}). Create it, or correct the name or the endpoint.`,
      );
    }
    if (/Could not load the default credentials/i.test((error as Error).message)) {
      throw invalid(
        "No credentials for Google Cloud Storage: set GOOGLE_APPLICATION_CREDENTIALS, or give the machine a service account.",
      );
    }
    throw failure("being opened", error, undefined, limit.signal);
  }
}

/** Where the bucket lies; null when we may not know, which needs a permission that nothing else here does. */
async function readRegion(bucket: Bucket): Promise<string | null> {
  using limit = limitTime(undefined, 5_000);
  try {
    const [metadata] = await raceSignal(bucket.getMetadata(), limit.signal);
    return metadata.location?.toLowerCase() ?? null;
  } catch {
    return null;
  }
}
