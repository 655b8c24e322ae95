import { readdirSync, readFileSync, statfsSync } from "node:fs";

/** Page size of statm. Every distribution's arm64 and x86-64 server kernels use 4 KiB, except RHEL 8's 64 KiB arm64. */
const PAGE = 4096;

/** What an inode of a tmpfs costs the kernel, rounded up (`shmem_inode_cache` plus a directory entry). */
const INODE = 1024;

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

/** All processes below `pid`, itself included, with their number of threads. Nothing leaves the tree: the sandbox's pid 1 adopts orphans. */
export function processTree(pid: number): Map<number, number> {
  const tree = new Map<number, number>();
  const open = [pid];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const threads = threadsOf(next);
    if (threads.length === 0 || tree.has(next)) continue;
    tree.set(next, threads.length);
    for (const thread of threads) {
      for (const child of read(`/proc/${next}/task/${thread}/children`).split(" ")) if (child) open.push(Number(child));
    }
  }
  return tree;
}

function residentBytes(pid: number): number {
  return Number(read(`/proc/${pid}/statm`).split(" ")[1] ?? 0) * PAGE;
}

function proportionalBytes(pid: number): number {
  const match = /^Pss:\s+(\d+) kB/m.exec(read(`/proc/${pid}/smaps_rollup`));
  return match ? Number(match[1]) * 1024 : residentBytes(pid);
}

/** Bytes of a tmpfs inside, seen through a process that has it mounted. */
function tmpfsBytes(pid: number, path: string): number {
  try {
    const { type, bsize, blocks, bfree, files, ffree } = statfsSync(`/proc/${pid}/root${path}`);
    const TMPFS_MAGIC = 0x01021994;
    return type === TMPFS_MAGIC ? (blocks - bfree) * bsize + (files - ffree) * INODE : 0;
  } catch {
    return 0;
  }
}

/**
 * Memory of a process tree in bytes, scratch included. The cheap sum counts shared pages once per process; only when it is
 * above `limit` the exact one (Pss) is taken. Not seen: memory that no process has mapped (memfd, System V segments).
 */
export function treeMemory(pids: Iterable<number>, root: number, limit: number): number {
  const all = [...pids];
  const scratch = tmpfsBytes(root, "/tmp") + tmpfsBytes(root, "/dev/shm");
  const upper = all.reduce((sum, pid) => sum + residentBytes(pid), scratch);
  return upper <= limit ? upper : all.reduce((sum, pid) => sum + proportionalBytes(pid), scratch);
}
