import { BlobServiceClient, StorageSharedKeyCredential } from "@azure/storage-blob";
import { TreadleError } from "@treadle/errors";
import { readCloudUrl, yesOrNo } from "../cloud/cloud-url.ts";

/** What a storage URL `azblob://container/prefix?…` and the environment say. */
export interface AzureSettings {
  readonly container: string;
  readonly prefix: string;
  readonly service: BlobServiceClient;
  /** Whether it is Microsoft's own service. */
  readonly microsoft: boolean;
  /** Whether there is an account key to sign addresses with, and they may be handed out. */
  readonly presign: boolean;
  readonly secrets: readonly (string | undefined)[];
}

/**
 * Query words: `endpoint` (the blob service's address; default: the account's), `presign` (no: hand out no addresses). Credentials:
 * AZURE_STORAGE_CONNECTION_STRING (with a key or a shared access signature), or AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY.
 * @throws INVALID_SETTING
 */
export function readAzureSettings(url: URL, environment: Readonly<Record<string, string | undefined>>): AzureSettings {
  const { bucket: container, prefix, words, endpoint } = readCloudUrl(url, ["endpoint", "presign"]);
  const { AZURE_STORAGE_CONNECTION_STRING: connection, AZURE_STORAGE_ACCOUNT: account, AZURE_STORAGE_KEY: key } = environment;
  const service = connection
    ? connectByString(connection, endpoint)
    : connectByKey(account, key, endpoint ?? (account ? new URL(`https://${account}.blob.core.windows.net`) : null));
  return {
    container,
    prefix,
    service,
    microsoft: /\.blob\.core\.(windows\.net|chinacloudapi\.cn|usgovcloudapi\.net)$/.test(new URL(service.url).hostname),
    presign: yesOrNo("presign", words.presign, true) && service.credential instanceof StorageSharedKeyCredential,
    secrets: [
      key,
      ...(connection ?? "").split(";").map((field) => /^(?:AccountKey|SharedAccessSignature)=(.+)$/.exec(field)?.[1]),
    ],
  };
}

/** Retries last seconds, not minutes; streams and calls have limits of their own. */
const OPTIONS = { retryOptions: { maxTries: 4, retryDelayInMs: 300, maxRetryDelayInMs: 5_000 } };

function connectByString(connection: string, endpoint: URL | null): BlobServiceClient {
  let service: BlobServiceClient;
  try {
    service = BlobServiceClient.fromConnectionString(connection, OPTIONS);
  } catch {
    throw new TreadleError("INVALID_SETTING", "AZURE_STORAGE_CONNECTION_STRING is not a connection string of a storage account.");
  }
  if (endpoint === null) return service;
  const { search } = new URL(service.url);
  return new BlobServiceClient(`${trim(endpoint)}${search}`, service.credential, OPTIONS);
}

function connectByKey(account: string | undefined, key: string | undefined, endpoint: URL | null): BlobServiceClient {
  if (!account || !key || endpoint === null) {
    throw new TreadleError(
      "INVALID_SETTING",
      "No credentials for Azure: set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY.",
    );
  }
  return new BlobServiceClient(trim(endpoint), new StorageSharedKeyCredential(account, key), OPTIONS);
}

function trim(endpoint: URL): string {
  return endpoint.href.replace(/\/+$/, "");
}
