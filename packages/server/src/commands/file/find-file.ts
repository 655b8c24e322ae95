import { isTreadleError, TreadleError } from "@treadle/errors";
import { path, type ServerClient } from "../server-client.ts";
import type { FileView } from "./file-view.ts";

const PAGE = 1_000;
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Narrows a list of files. */
export interface FileFilter {
  readonly prefix?: string | undefined;
  readonly sha256?: string | undefined;
}

/** All files of a workspace that fit, oldest first, page by page. @throws UNKNOWN_WORKSPACE */
export async function* listFiles(client: ServerClient, workspace: string, filter: FileFilter): AsyncGenerator<FileView, void> {
  let after: string | null = null;
  do {
    const query = Object.entries({ ...filter, after: after ?? undefined, limit: String(PAGE) });
    const given = query.filter((entry): entry is [string, string] => entry[1] !== undefined);
    const page: { files: FileView[]; next: string | null } = await client.request(
      "GET",
      `${path`/api/v1/workspaces/${workspace}/files`}?${new URLSearchParams(given)}`,
    );
    yield* page.files;
    after = page.next;
  } while (after !== null);
}

/**
 * The file that a user means: by its id, or the newest of exactly this name.
 * @throws UNKNOWN_FILE, UNKNOWN_WORKSPACE
 */
export async function findFile(client: ServerClient, workspace: string, idOrName: string): Promise<FileView> {
  if (ID.test(idOrName)) {
    try {
      return await client.request<FileView>("GET", path`/api/v1/workspaces/${workspace}/files/${idOrName}`);
    } catch (error) {
      // Names may look like ids.
      if (!isTreadleError(error) || error.code !== "UNKNOWN_FILE") throw error;
    }
  }
  let newest: FileView | undefined;
  for await (const file of listFiles(client, workspace, { prefix: idOrName })) if (file.name === idOrName) newest = file;
  if (newest === undefined)
    throw new TreadleError(
      "UNKNOWN_FILE",
      `The workspace ${workspace} has no file of the id or name ${JSON.stringify(idOrName)}.`,
    );
  return newest;
}
