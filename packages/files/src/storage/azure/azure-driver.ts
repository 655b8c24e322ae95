import type { Readable } from "node:stream";
import { BlobSASPermissions, type ContainerClient } from "@azure/storage-blob";
import { TreadleError } from "@treadle/errors";
import { attachment } from "../cloud/attachment.ts";
import { type CloudFailures, cloudFailures, statusOf } from "../cloud/cloud-failure.ts";
import { confirmKept } from "../cloud/confirm-kept.ts";
import { objectKeys } from "../cloud/object-keys.ts";
import type { OpenCloudDriver } from "../cloud/open-cloud-driver.ts";
import { answeredBody } from "../cloud/received-body.ts";
import { limitTime } from "../cloud/time-limits.ts";
import type { StorageDriver } from "../storage-driver.ts";
import { putAzureBlob } from "./azure-put.ts";
import { type AzureSettings, readAzureSettings } from "./azure-settings.ts";

/**
 * Keeps bytes as block blobs in a container of Azure Blob Storage.
 * @throws INVALID_SETTING, STORAGE_UNAVAILABLE
 */
export const openAzureDriver: OpenCloudDriver = async ({ url, environment }) => {
  const settings = readAzureSettings(url, environment);
  const container = settings.service.getContainerClient(settings.container);
  const failures = cloudFailures(`The Azure container ${settings.container}`, settings.secrets);
  await checkContainer(container, settings, failures);
  return azureDriver(container, settings, failures);
};

function azureDriver(
  container: ContainerClient,
  { prefix, microsoft, presign }: AzureSettings,
  { failure, missing }: CloudFailures,
): StorageDriver {
  const keys = objectKeys(prefix);
  const blob = (sha256: string) => container.getBlockBlobClient(keys.of(sha256));

  const size = async (sha256: string) => {
    using limit = limitTime(undefined);
    try {
      return (await blob(sha256).getProperties({ abortSignal: limit.signal })).contentLength ?? 0;
    } catch (error) {
      if (statusOf(error) === 404) return null;
      throw failure("looking for a file", error, undefined, limit.signal);
    }
  };

  const listPage = async (after: string | undefined) => {
    using limit = limitTime(undefined);
    try {
      const pages = container
        .listBlobsFlat({ prefix: keys.prefix, abortSignal: limit.signal })
        .byPage(after === undefined ? {} : { continuationToken: after });
      return (await pages.next()).value;
    } catch (error) {
      throw failure("listing files", error, undefined, limit.signal);
    }
  };

  return {
    kind: "azure",
    // The service does not tell an account's region to those who may only use its blobs.
    location: { cloud: microsoft ? "azure" : null, region: null },

    async put(staged, signal) {
      const target = blob(staged.sha256);
      signal?.throwIfAborted();
      try {
        await putAzureBlob(target, staged, signal);
      } catch (error) {
        throw failure("keeping a file", error, signal);
      }
      await confirmKept(this, staged, failure);
    },

    size,

    async read(sha256, range, signal) {
      using limit = limitTime(signal);
      const length = range === undefined ? undefined : range.end - range.start + 1;
      try {
        const answer = await blob(sha256).download(range?.start ?? 0, length, { abortSignal: limit.signal });
        const told = (error: unknown) => failure("giving a file", error, signal);
        return answeredBody(answer.readableStreamBody as Readable, answer.contentLength, range, { failure: told, signal });
      } catch (error) {
        if (!signal?.aborted && (statusOf(error) === 404 || statusOf(error) === 416)) throw missing(sha256);
        throw failure("giving a file", error, signal, limit.signal);
      }
    },

    async delete(sha256) {
      using limit = limitTime(undefined);
      try {
        await blob(sha256).deleteIfExists({ deleteSnapshots: "include", abortSignal: limit.signal });
      } catch (error) {
        throw failure("deleting a file", error, undefined, limit.signal);
      }
    },

    async *list() {
      let after: string | undefined;
      do {
        const page = await listPage(after);
        for (const { name, properties } of page?.segment.blobItems ?? []) {
          const sha256 = keys.digestOf(name);
          if (sha256 !== null) yield { sha256, size: properties.contentLength ?? 0 };
        }
        after = page?.continuationToken || undefined;
      } while (after !== undefined);
    },

    // Blocks that were never committed are in no list, and the service drops them after a week.
    async sweep() {},

    ...(presign &&
      ({
        async presign(sha256, { expiresSeconds, fileName, mimeType }) {
          const expiresAt = Date.now() + expiresSeconds * 1000;
          const url = await blob(sha256).generateSasUrl({
            permissions: BlobSASPermissions.parse("r"),
            // The service counts whole seconds.
            expiresOn: new Date(expiresAt),
            contentDisposition: attachment(fileName),
            contentType: mimeType,
          });
          return { url, expiresAt };
        },
      } satisfies Pick<StorageDriver, "presign">)),

    async [Symbol.asyncDispose]() {},
  };
}

async function checkContainer(
  container: ContainerClient,
  { container: name, prefix }: AzureSettings,
  { failure, words }: CloudFailures,
): Promise<void> {
  using limit = limitTime(undefined);
  try {
    await container
      .listBlobsFlat({ ...(prefix === "" ? {} : { prefix }), abortSignal: limit.signal })
      .byPage({ maxPageSize: 1 })
      .next();
  } catch (error) {
    if (statusOf(error) === 404) {
      throw new TreadleError(
        "INVALID_SETTING",
        `TREADLE_STORAGE_URL: there is no container ${name} (${words(error)}). Create it, or correct the name, the account or the endpoint.`,
      );
    }
    throw failure("being opened", error, undefined, limit.signal);
  }
}
