import { open } from "node:fs/promises";

const PROGRAM_HEADER_INTERPRETER = 3;

/** The dynamic loader that a 64-bit little-endian ELF executable asks for (its PT_INTERP); null for scripts and static programs. */
export async function readElfInterpreter(file: string): Promise<string | null> {
  await using handle = await open(file);
  const header = Buffer.alloc(64);
  const { bytesRead } = await handle.read(header, 0, 64, 0);
  if (bytesRead < 64 || header.readUInt32BE(0) !== 0x7f454c46 || header[4] !== 2 || header[5] !== 1) return null;
  const offset = Number(header.readBigUInt64LE(32));
  const size = header.readUInt16LE(54);
  const count = header.readUInt16LE(56);
  const table = Buffer.alloc(size * count);
  await handle.read(table, 0, table.length, offset);
  for (let at = 0; at + size <= table.length; at += size) {
    if (table.readUInt32LE(at) !== PROGRAM_HEADER_INTERPRETER) continue;
    const name = Buffer.alloc(Math.min(4096, Number(table.readBigUInt64LE(at + 32))));
    await handle.read(name, 0, name.length, Number(table.readBigUInt64LE(at + 8)));
    return name.toString("utf8").replace(/\0.*$/s, "");
  }
  return null;
}
