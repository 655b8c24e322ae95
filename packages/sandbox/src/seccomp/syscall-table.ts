/** System call numbers by name. */
export type SyscallTable = ReadonlyMap<string, number>;

/** Reads runs of consecutive numbers: the first number and the names from there on, parted by blanks. */
export function syscallTable(runs: readonly (readonly [number, string])[]): SyscallTable {
  const table = new Map<string, number>();
  for (const [first, names] of runs) {
    for (const [index, name] of names.split(/\s+/).entries()) table.set(name, first + index);
  }
  return table;
}
