// Started by large-source.ts: writes to its standard output a tar of files that cannot be packed any further. Argument: MiB of each of its files.
import { createCipheriv } from "node:crypto";
import { pipeline } from "node:stream/promises";

const FILES = 8;
const CHUNK = 64 * 1024;

async function* tar(fileBytes: number): AsyncGenerator<Buffer> {
  const cipher = createCipheriv("aes-128-ctr", Buffer.alloc(16, 1), Buffer.alloc(16));
  const zeros = Buffer.alloc(CHUNK);
  for (let file = 0; file < FILES; file++) {
    const header = Buffer.alloc(512);
    header.write(`file-${file}`, 0);
    header.write(`0000644\0${"0000000\0".repeat(2)}`, 100);
    header.write(`${fileBytes.toString(8).padStart(11, "0")}\0`, 124);
    header.write("00000000000\0        ", 136);
    header.write("0", 156);
    header.write("ustar\x0000", 257);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    yield header;
    for (let sent = 0; sent < fileBytes; sent += CHUNK) yield cipher.update(zeros);
  }
  yield Buffer.alloc(1024);
}

await pipeline(tar(Number(process.argv[2]) * 1024 * 1024), process.stdout);
