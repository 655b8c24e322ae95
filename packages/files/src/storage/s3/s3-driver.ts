import type { Readable } from "node:stream";
import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  S3Client,
} from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { TreadleError } from "@treadle/errors";
import { attachment } from "../cloud/attachment.ts";
import { type CloudFailures, cloudFailures, statusOf } from "../cloud/cloud-failure.ts";
import { confirmKept } from "../cloud/confirm-kept.ts";
import { objectKeys } from "../cloud/object-keys.ts";
import type { OpenCloudDriver } from "../cloud/open-cloud-driver.ts";
import { answeredBody } from "../cloud/received-body.ts";
import { limitTime } from "../cloud/time-limits.ts";
import type { StorageDriver } from "../storage-driver.ts";
import { putS3Object } from "./s3-put.ts";
import { readS3Settings, type S3Settings } from "./s3-settings.ts";

/**
 * Keeps bytes in a bucket of Amazon S3 or a service that speaks its protocol. What a service must have: ListObjectsV2, HEAD, ranges, multipart uploads.
 * @throws INVALID_SETTING, STORAGE_UNAVAILABLE
 */
export const openS3Driver: OpenCloudDriver = async ({ url, environment, warn }) => {
  const settings = readS3Settings(url, environment);
  const client = new S3Client(settings.client);
  try {
    const failures = cloudFailures(`The S3 bucket ${settings.bucket}`, settings.secrets);
    await checkBucket(client, settings, failures);
    const region = settings.client.region === undefined ? await client.config.region() : String(settings.client.region);
    return s3Driver(client, settings, region, failures, warn);
  } catch (error) {
    client.destroy();
    throw error;
  }
};

function s3Driver(
  client: S3Client,
  { bucket, prefix, amazon, presign }: S3Settings,
  region: string,
  { failure, missing, words }: CloudFailures,
  warn: (message: string, fields?: object) => void,
): StorageDriver {
  const keys = objectKeys(prefix);
  const at = (sha256: string) => ({ Bucket: bucket, Key: keys.of(sha256) });

  const size = async (sha256: string) => {
    using limit = limitTime(undefined);
    try {
      const { ContentLength } = await client.send(new HeadObjectCommand(at(sha256)), { abortSignal: limit.signal });
      return ContentLength ?? 0;
    } catch (error) {
      if (statusOf(error) === 404) return null;
      throw failure("looking for a file", error, undefined, limit.signal);
    }
  };

  const listPage = async (after: string | undefined) => {
    using limit = limitTime(undefined);
    try {
      const query = { Bucket: bucket, Prefix: keys.prefix, ...(after === undefined ? {} : { ContinuationToken: after }) };
      return await client.send(new ListObjectsV2Command(query), { abortSignal: limit.signal });
    } catch (error) {
      throw failure("listing files", error, undefined, limit.signal);
    }
  };

  return {
    kind: "s3",
    location: { cloud: amazon ? "aws" : null, region },

    async put(staged, signal) {
      const key = keys.of(staged.sha256);
      signal?.throwIfAborted();
      try {
        await putS3Object({ client, bucket, key }, staged, signal);
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        // Of a request that was sent again the first may have done it.
        if (statusOf(error) !== 404 || (await size(staged.sha256).catch(() => null)) !== staged.size) {
          throw failure("keeping a file", error, signal);
        }
      }
      await confirmKept(this, staged, failure);
    },

    size,

    async read(sha256, range, signal) {
      using limit = limitTime(signal);
      try {
        const { Body, ContentLength } = await client.send(
          new GetObjectCommand({ ...at(sha256), ...(range === undefined ? {} : { Range: `bytes=${range.start}-${range.end}` }) }),
          { abortSignal: limit.signal },
        );
        const told = (error: unknown) => failure("giving a file", error, signal);
        return answeredBody(Body as Readable, ContentLength, range, { failure: told, signal });
      } catch (error) {
        if (!signal?.aborted && (statusOf(error) === 404 || statusOf(error) === 416)) throw missing(sha256);
        throw failure("giving a file", error, signal, limit.signal);
      }
    },

    async delete(sha256) {
      using limit = limitTime(undefined);
      try {
        await client.send(new DeleteObjectCommand(at(sha256)), { abortSignal: limit.signal });
      } catch (error) {
        if (statusOf(error) !== 404) throw failure("deleting a file", error, undefined, limit.signal);
      }
    },

    async *list() {
      let after: string | undefined;
      do {
        const page = await listPage(after);
        for (const { Key, Size } of page.Contents ?? []) {
          const sha256 = Key === undefined ? null : keys.digestOf(Key);
          if (sha256 !== null) yield { sha256, size: Size ?? 0 };
        }
        after = page.IsTruncated ? page.NextContinuationToken : undefined;
      } while (after !== undefined);
    },

    async sweep(olderThanMs) {
      const before = Date.now() - olderThanMs;
      try {
        for await (const upload of unfinishedUploads(client, bucket, keys.prefix)) {
          if (keys.digestOf(upload.key) === null || upload.initiated > before) continue;
          using limit = limitTime(undefined);
          await client
            .send(new AbortMultipartUploadCommand({ Bucket: bucket, Key: upload.key, UploadId: upload.id }), {
              abortSignal: limit.signal,
            })
            .catch((error) => {
              if (statusOf(error) !== 404) throw error;
            });
        }
      } catch (error) {
        if (statusOf(error) !== 501 && statusOf(error) !== 405) throw failure("listing unfinished uploads", error);
        warn("storage cannot list unfinished multipart uploads; give the bucket a rule that removes them", {
          reason: words(error),
        });
      }
    },

    ...(presign &&
      ({
        async presign(sha256, { expiresSeconds, fileName, mimeType }) {
          const command = new GetObjectCommand({
            ...at(sha256),
            ResponseContentDisposition: attachment(fileName),
            ResponseContentType: mimeType,
          });
          const expiresAt = Date.now() + expiresSeconds * 1000;
          try {
            return { url: await getSignedUrl(client, command, { expiresIn: expiresSeconds }), expiresAt };
          } catch (error) {
            throw failure("signing an address", error);
          }
        },
      } satisfies Pick<StorageDriver, "presign">)),

    async [Symbol.asyncDispose]() {
      client.destroy();
    },
  };
}

/** Asks for one key, which needs what `list` needs, and unlike HEAD is answered with the service's reasons. */
async function checkBucket(client: S3Client, { bucket, prefix }: S3Settings, { failure, words }: CloudFailures): Promise<void> {
  using limit = limitTime(undefined);
  try {
    await client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, MaxKeys: 1 }), { abortSignal: limit.signal });
  } catch (error) {
    const { name, Region, $response } = error as {
      name?: string;
      Region?: string;
      $response?: { headers?: Record<string, string> };
    };
    const invalid = (what: string) => new TreadleError("INVALID_SETTING", `TREADLE_STORAGE_URL: ${what}`);
    if (name === "NoSuchBucket" || statusOf(error) === 404) {
      throw invalid(`there is no bucket ${bucket} (${words(error)}). Create it, or correct the name or the endpoint.`);
    }
    const region = Region ?? $response?.headers?.["x-amz-bucket-region"];
    if (name === "PermanentRedirect" || name === "AuthorizationHeaderMalformed" || statusOf(error) === 301) {
      throw invalid(
        `the bucket ${bucket} is in ${region === undefined ? "another region" : `the region ${region}`}: set ?region=…`,
      );
    }
    if (/^(Error)?Region is missing/i.test((error as Error).message)) {
      throw invalid("the region is missing: add ?region=…, or set AWS_REGION.");
    }
    if (name === "CredentialsProviderError") {
      throw invalid(
        `no credentials for S3 (${words(error)}). Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role.`,
      );
    }
    throw failure("being opened", error, undefined, limit.signal);
  }
}

async function* unfinishedUploads(client: S3Client, bucket: string, prefix: string) {
  let after: { KeyMarker: string | undefined; UploadIdMarker: string | undefined } | undefined;
  do {
    using limit = limitTime(undefined);
    const page = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix, ...after }), {
      abortSignal: limit.signal,
    });
    for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
      if (Key !== undefined && UploadId !== undefined) yield { key: Key, id: UploadId, initiated: Initiated?.getTime() ?? 0 };
    }
    after = page.IsTruncated ? { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker } : undefined;
  } while (after !== undefined);
}
