import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import type { BuildStep, Runtime, RuntimeRoot } from "@treadle/runtimes";
import { scriptRoot } from "../../dependencies/node/script-root.ts";

/** Folders of the sandbox that are not the root's, since nothing can be mounted inside of that. */
const NPM_INSIDE = "/npm";
const COMMANDS_INSIDE = "/commands";

/** What a user's own build command commonly calls, besides what install scripts do. */
const MORE_PROGRAMS =
  "bash awk base64 basename bzip2 cmp comm csplit date diff du fold gzip gunzip head hostname id install join make md5sum mktemp nl nproc od paste patch printf rmdir seq sha256sum sleep split stat tac tar tee timeout tty unexpand uniq unlink unzip xargs xxd xz zip find".split(
    " ",
  );

/** The sandbox of a user's own build command. */
export type CommandGround = Pick<BuildStep, "root" | "mounts" | "environment">;

/** Where the command runs when the language is not compiled: the language itself, a shell, and the usual small programs of this machine. */
export async function interpretedGround(runtime: Runtime): Promise<CommandGround> {
  const own = runtime.root.executables.flatMap(withPlainNames);
  const system = (await scriptRoot(MORE_PROGRAMS)).executables.filter(
    ({ target }) => !own.some((each) => each.target === target),
  );
  const folders = new Set([COMMANDS_INSIDE, ...own.map(({ target }) => dirname(target)), "/usr/bin", "/bin"]);
  return {
    root: { executables: [...own, ...system], system: runtime.root.system },
    mounts: [...runtime.mounts, ...(runtime.language === "node" ? npmMounts() : [])],
    environment: { ...runtime.environment, PATH: [...folders].join(":") },
  };
}

/** `python3.11` is also `python3` and `python` to those who write build commands. */
function withPlainNames({ source, target }: RuntimeRoot["executables"][number]): RuntimeRoot["executables"] {
  const name = basename(target);
  const names = new Set([name, name.replace(/\.\d+$/, ""), name.replace(/[\d.]+$/, "")]);
  return [...names].filter((each) => each !== "").map((each) => ({ source, target: join(dirname(target), each) }));
}

/** Whether the root of a compile step has a shell. */
export function hasShell({ root }: BuildStep): boolean {
  return (
    root.executables.some(({ target }) => target === "/bin/sh" || target === "/usr/bin/sh") ||
    root.system.some((path) => path === "/bin" || path === "/usr/bin" || path === "/usr")
  );
}

/** `npm run build` is how most sources are built; it finds no registry, and needs none. */
function npmMounts(): BuildStep["mounts"] {
  const folder = dirname(createRequire(import.meta.url).resolve("npm/package.json"));
  return [
    { source: folder, target: NPM_INSIDE, access: "read-only" },
    { source: join(import.meta.dirname, "inside/npm"), target: join(COMMANDS_INSIDE, "npm"), access: "read-only" },
    { source: join(import.meta.dirname, "inside/npx"), target: join(COMMANDS_INSIDE, "npx"), access: "read-only" },
  ];
}
