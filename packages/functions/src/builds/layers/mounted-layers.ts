import { readdir, readFile, readlink } from "node:fs/promises";

/**
 * Which of the folders are mounted in some process's mount namespace: in use by a sandbox. Names below `directory`. What cannot be read (a process that is gone,
 * one of another user) mounts nothing of ours.
 */
export async function mountedBelow(directory: string): Promise<Set<string>> {
  const found = new Set<string>();
  const seen = new Set<string>();
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    const namespace = await readlink(`/proc/${pid}/ns/mnt`).catch(() => "");
    if (seen.has(namespace)) continue;
    const mounts = await readFile(`/proc/${pid}/mountinfo`, "utf8").catch(() => "");
    if (namespace !== "") seen.add(namespace);
    for (const line of mounts.split("\n")) {
      // The fourth word: which part of its file system is mounted, counted from that file system's own root, which may lie anywhere above.
      const root = (line.split(" ")[3] ?? "").replace(/\\([0-7]{3})/g, (_, octal: string) =>
        String.fromCharCode(Number.parseInt(octal, 8)),
      );
      const at = root.lastIndexOf("/");
      const parent = root.slice(0, at);
      if (at > 0 && directory.endsWith(parent)) found.add(root.slice(at + 1));
    }
  }
  return found;
}
