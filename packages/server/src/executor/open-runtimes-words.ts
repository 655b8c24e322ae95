import { ExecutorError } from "./executor-error.ts";

/** Installs of package managers: builds do these themselves, from the manifest and without scripts. */
const INSTALLS =
  /^(npm (install|i|ci)|yarn( install)?|pnpm (install|i)|bun install|pip3? install -r \S+|poetry install|composer (install|update)|bundle install|go mod (download|tidy)|dart pub get|swift package resolve|deno cache \S+)(\s+--?\S+)*$/;

/** The language an image is of: `openruntimes/node:v5-22` → `node`. @throws ExecutorError */
export function languageOfImage(image: string): string {
  const name = /^(?:[\w.-]+(?::\d+)?\/)?openruntimes\/([a-z]+)(?::|@|$)/.exec(image)?.[1];
  if (name === undefined) {
    throw new ExecutorError(
      "runtime_failed",
      `${JSON.stringify(image.slice(0, 128))} is no image of Open Runtimes; one looks like openruntimes/node:v5-22.`,
    );
  }
  return name;
}

/**
 * What is left of a build command for the sandbox: `tar -zxf ... && bash helpers/build.sh "npm install && npm run build"` → `npm run build`. Unpacking and the image's own
 * script are Treadle's business, and packages are installed before. Null: nothing is left.
 */
export function buildCommand(command: string): string | null {
  const quoted = /helpers\/build\.sh\s+(?:"((?:[^"\\]|\\.)*)"|'([^']*)')/.exec(command);
  const inner = quoted === null ? command : (quoted[1]?.replace(/\\(.)/g, "$1") ?? quoted[2] ?? "");
  const steps = inner
    .split("&&")
    .map((step) => step.trim())
    .filter((step) => step !== "" && !INSTALLS.test(step) && !/^(tar |(ba)?sh helpers\/|helpers\/|cd \/)/.test(step));
  return steps.length === 0 ? null : steps.join(" && ");
}
