import type { FilesOptions } from "@treadle/files";
import type { Settings } from "./settings.ts";

/** The files capability's part of the settings. */
export function filesSettings(
  settings: Settings,
): Pick<FilesOptions, "storageUrl" | "quotaBytes" | "fileMaxBytes" | "uploadExpiryMs" | "copiesMaxBytes" | "trustedImports"> {
  return {
    storageUrl: settings.storageUrl,
    quotaBytes: settings.filesQuota,
    fileMaxBytes: settings.fileMaxBytes,
    uploadExpiryMs: settings.uploadExpiryHours * 3_600_000,
    copiesMaxBytes: settings.fileCopiesBytes,
    trustedImports: settings.importTrusted,
  };
}
