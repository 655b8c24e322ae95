import { readdirSync, readFileSync } from "node:fs";

const CLOSE_ON_EXEC = 0o2000000;

/**
 * Descriptors above `last` that a program started by this process would inherit. Node marks its own close-on-exec; these
 * came open from whoever started the server (a shell, a service manager) and must not reach a sandbox.
 */
export function inheritedDescriptors(last: number): number[] {
  const open: number[] = [];
  for (const name of readdirSync("/proc/self/fdinfo")) {
    const descriptor = Number(name);
    if (descriptor <= last) continue;
    try {
      const flags = /^flags:\s+(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${name}`, "utf8"));
      if (flags && (Number.parseInt(flags[1] as string, 8) & CLOSE_ON_EXEC) === 0) open.push(descriptor);
    } catch {
      // Closed since: the directory listing's own descriptor.
    }
  }
  return open;
}
