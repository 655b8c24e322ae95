import { PassThrough, pipeline, Readable } from "node:stream";
import { pipeline as pipelined } from "node:stream/promises";
import { createGzip } from "node:zlib";
import tar from "tar-stream";

/** An entry of a tree to be packed. */
export type PackEntry =
  | { readonly kind: "folder"; readonly path: string }
  | { readonly kind: "link"; readonly path: string; readonly target: string }
  | {
      readonly kind: "file";
      readonly path: string;
      readonly executable: boolean;
      readonly bytes: number;
      /** Called once; exactly `bytes` bytes. */
      readonly open: () => Readable | Promise<Readable>;
    };

const EPOCH = new Date(0);

/**
 * A tar.gz of the entries in their order, without owners, times or modes but "executable": equal trees give equal bytes. An error of the entries ends the stream.
 * Speed over size: layers are packed while somebody waits.
 */
export function packTree(entries: Iterable<PackEntry> | AsyncIterable<PackEntry>): Readable {
  const pack = tar.pack();
  const gzip = createGzip({ level: 1, chunkSize: 128 * 1024 });
  void addAll(pack, entries).catch((error) => pack.destroy(error));
  return pipeline(Readable.from(pack as unknown as AsyncIterable<Buffer>), gzip, new PassThrough(), () => {});
}

async function addAll(pack: tar.Pack, entries: Iterable<PackEntry> | AsyncIterable<PackEntry>): Promise<void> {
  for await (const entry of entries) {
    const owner = { uid: 0, gid: 0, mtime: EPOCH };
    if (entry.kind === "folder") pack.entry({ ...owner, name: `${entry.path}/`, type: "directory", mode: 0o755 });
    else if (entry.kind === "link")
      pack.entry({ ...owner, name: entry.path, type: "symlink", linkname: entry.target, mode: 0o777 });
    else {
      const header = { ...owner, name: entry.path, size: entry.bytes, mode: entry.executable ? 0o755 : 0o644 };
      if (entry.bytes === 0) pack.entry(header, Buffer.alloc(0));
      else {
        const source = await entry.open();
        const { promise, resolve, reject } = Promise.withResolvers<void>();
        const sink = pack.entry(header, (error) => (error ? reject(error) : resolve()));
        await Promise.all([pipelined(source, sink), promise]);
      }
    }
  }
  pack.finalize();
}
