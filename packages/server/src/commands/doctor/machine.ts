import { constants } from "node:fs";
import { access, statfs } from "node:fs/promises";
import { freemem, totalmem } from "node:os";
import { dirname, resolve } from "node:path";
import type { Finding } from "@treadle/sandbox";

const MEBIBYTE = 1024 * 1024;
const OLDEST_NODE = 24;
/** Below this the database may refuse writes any moment. */
const LEAST_DISK = 256 * MEBIBYTE;
const ENOUGH_DISK = 2048 * MEBIBYTE;
const ENOUGH_MEMORY = 1024 * MEBIBYTE;

/** The Node that runs this. */
export function examineNode(): Finding {
  const name = "Node";
  const version = process.versions.node;
  if (Number(version.split(".")[0]) >= OLDEST_NODE) return { name, status: "ok", message: `Version ${version}.` };
  return {
    name,
    status: "missing",
    message: `Version ${version} is too old; ${OLDEST_NODE} or newer is needed.`,
    remedy: "npm ci (brings its own)",
  };
}

/** Memory of the machine, or of the container around this process. */
export function examineMemory(): Finding {
  const name = "memory";
  const limit = process.constrainedMemory();
  const bounded = limit > 0 && limit < totalmem();
  const total = bounded ? limit : totalmem();
  const message = `${mebibytes(total)}${bounded ? " (this process's limit)" : ""}, ${mebibytes(Math.min(freemem(), process.availableMemory()))} free.`;
  if (total >= ENOUGH_MEMORY) return { name, status: "ok", message };
  return {
    name,
    status: "degraded",
    message: `${message} The server and database take about 250 MiB, each live instance 30 and up.`,
    remedy: "treadle serve --max-instances 4 --prewarmed 0",
  };
}

/** Whether the data directory, or the folder it would be made in, takes files, and how much. */
export async function examineDataDirectory(directory: string): Promise<Finding> {
  const name = "data directory";
  const wanted = resolve(directory);
  const folder = await nearest(wanted);
  try {
    await access(folder, constants.W_OK | constants.X_OK);
  } catch {
    return {
      name,
      status: "missing",
      message: `${folder === wanted ? wanted : `${wanted} does not exist, and ${folder}`} cannot be written to.`,
      remedy: `sudo install -d -o "$(id -un)" -m 700 ${shellWord(wanted)}`,
    };
  }
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  const message = `${wanted}${folder === wanted ? "" : " (will be made)"}, ${mebibytes(free)} free.`;
  if (free >= ENOUGH_DISK) return { name, status: "ok", message };
  return {
    name,
    status: free < LEAST_DISK ? "missing" : "degraded",
    message: `${message} The database, its log and installed packages need room.`,
    remedy: "Free space there, or use another directory: treadle serve --data-dir DIR",
  };
}

async function nearest(folder: string): Promise<string> {
  try {
    await access(folder);
    return folder;
  } catch {
    return dirname(folder) === folder ? folder : nearest(dirname(folder));
  }
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / MEBIBYTE)} MiB`;
}

function shellWord(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
