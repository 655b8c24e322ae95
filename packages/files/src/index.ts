export type { Bundle, BundleEntry, BundleSummary, NewBundle } from "./bundles/bundle.ts";
export type { Bundles } from "./bundles/bundles.ts";
export type { ByteRange, FileLink, FilePage, FileUsage, NewFile, StoredFile } from "./file.ts";
export type { CollectResult, FileQuery, Files, Imports, ScrubResult, Uploads } from "./files.ts";
export type { FilesOptions } from "./files-options.ts";
export type { FileImport, NewImport } from "./imports/file-import.ts";
export { openFiles } from "./open-files.ts";
export type { PresignedUrl, StagedBytes, StorageDriver, StorageLocation } from "./storage/storage-driver.ts";
export type { NewUpload, Upload } from "./uploads/upload.ts";
