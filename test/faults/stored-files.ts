import { createHash } from "node:crypto";
import { createReadStream, existsSync, readdirSync } from "node:fs";
import { open } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import pg from "pg";
import type { Server } from "../harness/server.ts";
import type { FileLoad, ListedFile } from "./file-load.ts";

/** All files of a workspace. */
export async function listed(server: Server, workspace: string): Promise<ListedFile[]> {
  const files: ListedFile[] = [];
  let after = "";
  do {
    const answer = await server.send("GET", `/api/v1/workspaces/${workspace}/files?limit=1000${after}`);
    // The first file makes the workspace.
    if (answer.code === "UNKNOWN_WORKSPACE") return [];
    const page = answer.json as unknown as { files: ListedFile[]; next: string | null };
    files.push(...page.files);
    after = page.next === null ? "" : `&after=${page.next}`;
  } while (after !== "");
  return files;
}

/** The sha256 of a file's bytes as the server gives them; the status when it does not. */
export function downloaded(server: Server, workspace: string, id: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const path = `/api/v1/workspaces/${workspace}/files/${id}/content`;
    const asked = request({ host: "127.0.0.1", port: server.port, path, agent: false }, (response) => {
      const hash = createHash("sha256");
      pipeline(response, hash).then(
        () => resolve(response.statusCode === 200 ? hash.digest("hex") : `status ${response.statusCode}`),
        reject,
      );
    });
    asked.on("error", reject);
    asked.end();
  });
}

/** What is wrong with the files a server has, held against what was sent to it: acknowledged ones that are missing, and any that are not whole. */
export async function faultsOf(server: Server, load: FileLoad): Promise<string[]> {
  const faults: string[] = [];
  const files = await listed(server, load.workspace);
  const ids = new Set(files.map(({ id }) => id));
  for (const id of load.acknowledged.keys()) if (!ids.has(id)) faults.push(`${id} was acknowledged and is not there`);
  const whole = new Set<string>();
  for (const { id, name, sha256 } of files) {
    if (load.sent.get(name) !== sha256) faults.push(`${name} has ${sha256}, and ${load.sent.get(name)} was sent`);
    // Equal contents are the same bytes in storage, which are looked at once.
    if (whole.has(sha256)) continue;
    const bytes = await downloaded(server, load.workspace, id).catch((error: Error) => error.message);
    if (bytes === sha256) whole.add(sha256);
    else faults.push(`${name} should be ${sha256}, and gives ${bytes}`);
  }
  return faults;
}

/** What is wrong in local storage itself: bytes that are not those of their name, that no row knows, or that are half written. */
export async function storageFaults(dataDirectory: string, storage = join(dataDirectory, "files")): Promise<string[]> {
  const faults: string[] = [];
  const known = await blobsOf(dataDirectory);
  for (const path of filesIn(storage)) {
    const digest = path.slice(storage.length).replaceAll("/", "");
    const hash = createHash("sha256");
    await pipeline(createReadStream(path), hash);
    if (hash.digest("hex") !== digest) faults.push(`${path} is not what its name says`);
    if (!known.has(digest)) faults.push(`${path} has no row`);
  }
  return faults;
}

/** The uploads whose bytes lie in the staging folder. */
export function stagedIn(dataDirectory: string): string[] {
  return readdirSync(join(dataDirectory, "staging")).filter((name) => /^[0-9a-f]{8}-/.test(name));
}

/** Files in a folder, at any depth. */
function filesIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** The digests the embedded database of a running server knows. */
async function blobsOf(dataDirectory: string): Promise<Set<string>> {
  // Through the open folder, as the server does: a socket's path may have 107 bytes only.
  await using folder = await open(join(dataDirectory, "database", "data"));
  const client = new pg.Client({ host: `/proc/self/fd/${folder.fd}`, port: 5432, user: "treadle", database: "postgres" });
  await client.connect();
  try {
    const { rows } = await client.query<{ sha256: string }>("SELECT encode(sha256, 'hex') AS sha256 FROM blobs");
    return new Set(rows.map(({ sha256 }) => sha256));
  } finally {
    await client.end();
  }
}
