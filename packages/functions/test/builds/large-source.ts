// Started by large.test.ts as a process of its own, so that its memory is that of taking a source in and nothing else. Prints, in MiB, what it needed besides what it had.
import { createCipheriv } from "node:crypto";
import { Readable } from "node:stream";
import { createGzip } from "node:zlib";
import { setWorkbench } from "./workbench.ts";

const FILES = 8;
const FILE_BYTES = 128 * 1024 * 1024;
const CHUNK = 64 * 1024;

/** A tar of files that cannot be packed any further, made as it is read. */
async function* tar(): AsyncGenerator<Buffer> {
  const cipher = createCipheriv("aes-128-ctr", Buffer.alloc(16, 1), Buffer.alloc(16));
  const zeros = Buffer.alloc(CHUNK);
  for (let file = 0; file < FILES; file++) {
    const header = Buffer.alloc(512);
    header.write(`file-${file}`, 0);
    header.write(`0000644\0${"0000000\0".repeat(2)}`, 100);
    header.write(`${FILE_BYTES.toString(8).padStart(11, "0")}\0`, 124);
    header.write("00000000000\0        ", 136);
    header.write("0", 156);
    header.write("ustar\x0000", 257);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    yield header;
    for (let sent = 0; sent < FILE_BYTES; sent += CHUNK) yield cipher.update(zeros);
  }
  yield Buffer.alloc(1024);
}

await using bench = await setWorkbench();
const small = Readable.from(tar()).take(1);
await bench.builds.takeSource({ kind: "archive", stream: small }).catch(() => {});
const before = process.memoryUsage().rss;
let most = before;
const timer = setInterval(() => {
  most = Math.max(most, process.memoryUsage().rss);
}, 20);
const stream = process.argv[2] === "gzip" ? Readable.from(tar()).pipe(createGzip({ level: 0 })) : Readable.from(tar());
const began = performance.now();
const source = await bench.builds.takeSource({ kind: "archive", stream });
clearInterval(timer);
console.log(
  JSON.stringify({ bytes: source.bytes, growth: (most - before) / 1024 / 1024, seconds: (performance.now() - began) / 1000 }),
);
