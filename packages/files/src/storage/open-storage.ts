import path from "node:path";
import { fileURLToPath } from "node:url";
import { TreadleError } from "@treadle/errors";
import type { FilesOptions } from "../files-options.ts";
import { openLocalDriver } from "./local/local-driver.ts";
import type { StorageDriver } from "./storage-driver.ts";

/**
 * Opens the storage that a URL names; null: the folder `files` of the data directory. The clouds' libraries are loaded only by those who use them.
 *
 * @throws INVALID_SETTING, STORAGE_UNAVAILABLE
 */
export async function openStorage(
  options: Pick<FilesOptions, "storageUrl" | "dataDirectory" | "environment" | "warn">,
): Promise<StorageDriver> {
  const { storageUrl, dataDirectory, environment, warn } = options;
  if (storageUrl === null) return openLocalDriver({ directory: path.join(dataDirectory, "files") });
  const url = URL.parse(storageUrl);
  switch (url?.protocol) {
    case "file:":
      return openLocalDriver({ directory: localFolder(url) });
    case "s3:":
      return (await import("./s3/s3-driver.ts")).openS3Driver({ url, environment, warn });
    case "gs:":
      return (await import("./gcs/gcs-driver.ts")).openGcsDriver({ url, environment, warn });
    case "azblob:":
      return (await import("./azure/azure-driver.ts")).openAzureDriver({ url, environment, warn });
    default:
      throw invalid("It has to begin with file://, s3://, gs:// or azblob://.");
  }
}

function localFolder(url: URL): string {
  if (url.host !== "") throw invalid("A file:// address has three slashes: file:///folder.");
  if (url.search !== "" || url.hash !== "") throw invalid("A file:// address takes no options.");
  try {
    const folder = fileURLToPath(url);
    if (!folder.includes("\0") && folder !== "/") return folder;
  } catch (error) {
    throw invalid(error instanceof Error ? error.message : String(error));
  }
  throw invalid("That is no folder to keep files in.");
}

/** Without the address: it may hold credentials. */
function invalid(reason: string): TreadleError {
  return new TreadleError("INVALID_SETTING", `TREADLE_STORAGE_URL cannot be used. ${reason}`);
}
