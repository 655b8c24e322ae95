import type { StorageDriver } from "../storage-driver.ts";

/** What a driver of a cloud is opened with. */
export interface CloudDriverOptions {
  /** The storage URL. */
  readonly url: URL;
  /** Where credentials come from. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly warn: (message: string, fields?: object) => void;
}

/**
 * Opens a driver, after one cheap request that shows whether the bucket is there and answers.
 * @throws INVALID_SETTING when the URL or the environment is to be corrected, STORAGE_UNAVAILABLE
 */
export type OpenCloudDriver = (options: CloudDriverOptions) => Promise<StorageDriver>;
