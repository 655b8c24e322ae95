/** The bytes that belong to a name ending in `-{size}`. */
export function contentOf(name: string): Buffer {
  return Buffer.alloc(Number(name.split("-").at(-1)), name);
}
