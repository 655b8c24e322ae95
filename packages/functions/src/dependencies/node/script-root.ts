import { access, constants } from "node:fs/promises";
import { join } from "node:path";
import type { RootSpec } from "@treadle/sandbox";

/** What install scripts commonly call. No compilers: those would bring half the system into the sandbox. */
const PROGRAMS =
  "sh env cat chmod cp cut dirname basename echo expr false grep head ln ls mkdir mv pwd readlink rm sed sort tail test touch tr true uname wc which".split(
    " ",
  );

/** The programs of this machine that an install script may call, and `more` of them. */
export async function scriptRoot(more: readonly string[] = []): Promise<RootSpec> {
  const found = await Promise.all(
    [...new Set([...PROGRAMS, ...more])].map(async (name) => {
      for (const folder of ["/usr/bin", "/bin"]) {
        const source = join(folder, name);
        if (
          await access(source, constants.X_OK).then(
            () => true,
            () => false,
          )
        ) {
          // Scripts name the shell by its old place.
          return name === "sh" ? [{ source, target: "/bin/sh" }] : [{ source, target: `/usr/bin/${name}` }];
        }
      }
      return [];
    }),
  );
  return { executables: found.flat(), system: [] };
}
