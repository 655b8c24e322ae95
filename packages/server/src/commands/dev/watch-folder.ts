import { relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { watch } from "chokidar";
import type { Ignore } from "ignore";

/** Editors write a file in several steps; what comes within this time is one change. */
const QUIET_MS = 80;

/** Paths that changed in a folder, a batch at a time, from now on. What the folder's source leaves out does not count. */
export async function* watchFolder(folder: string, ignored: Ignore): AsyncGenerator<readonly string[], never> {
  let changed = new Set<string>();
  let wake: () => void = () => undefined;
  const watcher = watch(folder, {
    ignoreInitial: true,
    ignored: (path, stats) => {
      const name = relative(folder, path);
      return name !== "" && ignored.ignores(stats?.isDirectory() ? `${name}/` : name);
    },
  });
  watcher.on("all", (_event, path) => {
    changed.add(relative(folder, path) || ".");
    wake();
  });
  try {
    for (;;) {
      if (changed.size === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      let before: number;
      do {
        before = changed.size;
        await sleep(QUIET_MS);
      } while (changed.size > before);
      const batch = [...changed].sort();
      changed = new Set();
      yield batch;
    }
  } finally {
    await watcher.close();
  }
}
