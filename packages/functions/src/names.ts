import { TreadleError } from "@treadle/errors";

const NAME = /^[A-Za-z_][A-Za-z0-9_.-]{0,127}$/;

/** Checks a function's name. @throws BAD_REQUEST */
export function checkedFunctionName(name: string): string {
  if (NAME.test(name)) return name;
  throw new TreadleError(
    "BAD_REQUEST",
    `${shown(name)} cannot be a function's name: use 1 to 128 letters, digits, "_", "-" or ".", starting with a letter or "_".`,
    { details: { field: "functions" } },
  );
}

/** A name as it can stand in a message: quoted, cut, well-formed. */
export function shown(name: string): string {
  const cut = name.length > 64 ? `${name.slice(0, 64)}...` : name;
  return JSON.stringify(cut.toWellFormed());
}
