import { stat } from "node:fs/promises";
import { TreadleError } from "@treadle/errors";
import type { SandboxSpec } from "./sandbox.ts";

function refuse(message: string): never {
  throw new TreadleError("INTERNAL", `The sandbox was asked for wrongly: ${message}`);
}

function requireAbsolute(path: string, what: string): void {
  if (!path.startsWith("/") || path.includes("\0") || path.split("/").includes(".."))
    refuse(`${what} ${JSON.stringify(path)} is not an absolute path.`);
}

/**
 * Checks what would otherwise turn into something else on the way to the kernel: NUL bytes, `=` in names, paths that leave
 * their place. Throws INTERNAL: a caller inside Treadle made the spec, and has to keep user input out of these places.
 */
export function checkSpec(spec: SandboxSpec): void {
  if (spec.command.length === 0) refuse("no command.");
  for (const word of spec.command) if (word.includes("\0")) refuse("the command has a NUL byte.");
  for (const [name, value] of Object.entries(spec.environment)) {
    if (name === "" || /[=\0]/.test(name) || value.includes("\0"))
      refuse(`the environment variable ${JSON.stringify(name)} cannot be set.`);
  }
  requireAbsolute(spec.workingDirectory, "working directory");
  for (const { source, target } of spec.mounts) {
    requireAbsolute(source, "mount source");
    requireAbsolute(target, "mount target");
  }
  for (const { source, target } of spec.root.executables) {
    requireAbsolute(source, "executable");
    requireAbsolute(target, "executable target");
  }
  for (const path of spec.root.system) requireAbsolute(path, "system path");
  const { memoryBytes, processes, cpus, scratchBytes, openFiles } = spec.limits;
  for (const [name, value] of Object.entries({ memoryBytes, processes, scratchBytes, openFiles })) {
    if (!Number.isSafeInteger(value) || value <= 0) refuse(`the limit ${name} is ${value}.`);
  }
  if (cpus !== null && !(cpus > 0)) refuse(`the limit cpus is ${cpus}.`);
}

/** Throws SANDBOX_UNAVAILABLE when a mount's source is not there. */
export async function checkMounts(spec: SandboxSpec): Promise<void> {
  await Promise.all(
    spec.mounts.map(({ source, target }) =>
      stat(source).catch((cause) => {
        throw new TreadleError("SANDBOX_UNAVAILABLE", `${source}, to be mounted at ${target}, cannot be read.`, { cause });
      }),
    ),
  );
}
