const MAX_BYTES = 255;

/** The name under which a file's bytes can lie in a folder: the file's own, unless no folder can have it. */
export function safeFileName(name: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is replaced.
  const plain = name.toWellFormed().replace(/[\u0000-\u001f\u007f/]/g, "_");
  if (plain === "" || plain === "." || plain === "..") return "file";
  if (Buffer.byteLength(plain) <= MAX_BYTES) return plain;
  // The ending is kept: programs go by it.
  const ending = /\.[A-Za-z0-9]{1,16}$/.exec(plain)?.[0] ?? "";
  const room = MAX_BYTES - ending.length;
  const bytes = Buffer.from(plain.slice(0, plain.length - ending.length));
  let end = Math.min(room, bytes.length);
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.toString("utf8", 0, end) + ending;
}
