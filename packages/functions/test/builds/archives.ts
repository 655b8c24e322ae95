import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { crc32, deflateRawSync, gzipSync } from "node:zlib";
import tar from "tar-stream";
import type { SourceInput } from "../../src/builds/builds.ts";

/** One entry of an archive under test. Everything is taken as it is, `../` and devices included. */
export interface TestEntry {
  readonly name: string;
  readonly text?: string | Buffer;
  readonly mode?: number;
  readonly type?: "file" | "directory" | "symlink" | "link" | "fifo" | "character-device" | "block-device";
  readonly linkname?: string;
  readonly pax?: Record<string, string>;
}

export async function tarOf(entries: readonly TestEntry[]): Promise<Buffer> {
  const pack = tar.pack();
  for (const { name, text = "", mode = 0o644, type = "file", linkname, pax } of entries) {
    const header = { name, mode, type, ...(linkname === undefined ? {} : { linkname }), ...(pax === undefined ? {} : { pax }) };
    if (type === "file") pack.entry(header, text);
    else pack.entry(header);
  }
  pack.finalize();
  return buffer(Readable.from(pack as unknown as AsyncIterable<Buffer>));
}

export async function tarGzOf(entries: readonly TestEntry[]): Promise<Buffer> {
  return gzipSync(await tarOf(entries));
}

/** A zip, written byte by byte, so that it can say anything. `size` and `crc`: what it claims instead of the truth. */
export function zipOf(
  entries: readonly (TestEntry & {
    readonly size?: number;
    readonly crc?: number;
    readonly flags?: number;
    readonly unixMode?: number;
  })[],
): Buffer {
  const locals: Buffer[] = [];
  const central: Buffer[] = [];
  let offset = 0;
  for (const { name, text = "", size, crc, flags = 0x800, unixMode = 0o100644 } of entries) {
    const bytes = Buffer.from(text);
    const packed = deflateRawSync(bytes);
    const raw = Buffer.from(name);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(flags, 2);
    common.writeUInt16LE(8, 4);
    common.writeUInt32LE(crc ?? crc32(bytes), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(size ?? bytes.length, 18);
    common.writeUInt16LE(raw.length, 22);
    locals.push(Buffer.from("PK\x03\x04", "latin1"), common, raw, packed);
    const entry = Buffer.alloc(46);
    entry.write("PK\x01\x02", 0, "latin1");
    entry.writeUInt16LE((3 << 8) | 20, 4);
    common.copy(entry, 6);
    entry.writeUInt32LE((unixMode << 16) >>> 0, 38);
    entry.writeUInt32LE(offset, 42);
    central.push(entry, raw);
    offset += 30 + raw.length + packed.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", 0, "latin1");
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, directory, end]);
}

/** Bytes as they come from a client: in pieces. */
export function upload(bytes: Buffer, folder?: string): SourceInput {
  const pieces = function* () {
    for (let at = 0; at < bytes.length; at += 16_384) yield bytes.subarray(at, at + 16_384);
  };
  return { kind: "archive", stream: Readable.from(pieces()), ...(folder === undefined ? {} : { folder }) };
}

export async function sourceOf(files: Readonly<Record<string, string>>): Promise<SourceInput> {
  return upload(await tarGzOf(Object.entries(files).map(([name, text]) => ({ name, text }))));
}
