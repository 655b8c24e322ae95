import { TreadleError } from "@treadle/errors";

const WORKSPACE_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

/** Checks the name of a workspace that is to be made. @throws BAD_REQUEST */
export function checkWorkspaceName(name: string): void {
  if (WORKSPACE_NAME.test(name)) return;
  const shown = JSON.stringify(cut(name, 64));
  throw new TreadleError(
    "BAD_REQUEST",
    `${shown} cannot be a workspace's name: use 1 to 128 letters, digits, "_", "-" or ".", starting with a letter, digit or "_".`,
    { details: { field: "workspace" } },
  );
}

export function unknownWorkspace(name: string): TreadleError {
  const workspace = cut(name, 128);
  return new TreadleError("UNKNOWN_WORKSPACE", `There is no workspace ${JSON.stringify(workspace)}.`, { details: { workspace } });
}

function cut(name: string, most: number): string {
  return (name.length > most ? `${name.slice(0, most)}...` : name).toWellFormed();
}
