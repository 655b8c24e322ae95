import { assembleFiles } from "./assemble-files.ts";
import type { Files } from "./files.ts";
import type { FilesOptions } from "./files-options.ts";
import { UPKEEP_TIMES } from "./upkeep.ts";

const PIN_MS = 600_000;

/**
 * Opens the files of a data directory and a database: removes what a process that died has left behind, opens the storage, and begins to look after it.
 * Disposing of it ends what is under way.
 *
 * @throws INVALID_SETTING for a storage that cannot be one, STORAGE_UNAVAILABLE when it or the disk does not answer
 */
export function openFiles(options: FilesOptions): Promise<Files> {
  return assembleFiles(options, { ...UPKEEP_TIMES, pinMs: PIN_MS });
}
