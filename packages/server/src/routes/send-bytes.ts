import { once } from "node:events";
import type { ServerResponse } from "node:http";
import type { Readable } from "node:stream";
import { freeChunk } from "@treadle/files";

/** A client that takes nothing for this long has gone. */
const STALLED_MS = 60_000;
const LOOK_MS = 10_000;

/**
 * Writes a stream to a response whose head is set and which has a length, as fast as the client takes it, and ends it. When the stream fails the connection is
 * broken off: what came must not look whole. Chunks' memory is given back as soon as they are sent; left to the garbage collector it would pile up.
 *
 * @returns how many bytes were sent
 */
export async function sendBytes(bytes: Readable, response: ServerResponse): Promise<{ sent: number; error: unknown }> {
  let sent = 0;
  const closed = new AbortController();
  const onClose = () => closed.abort();
  response.once("close", onClose);
  const endWatch = endWhenStalled(response);
  try {
    for await (const chunk of bytes as AsyncIterable<Buffer>) {
      const { length } = chunk;
      const room = response.write(chunk, (error) => {
        if (error != null) return;
        sent += length;
        freeChunk(chunk);
      });
      if (!room) await once(response, "drain", { signal: closed.signal });
    }
    await new Promise<void>((resolve) => response.end(resolve));
    return { sent, error: null };
  } catch (error) {
    response.destroy();
    return { sent, error: closed.signal.aborted ? null : error };
  } finally {
    bytes.destroy();
    endWatch();
    response.off("close", onClose);
  }
}

function endWhenStalled(response: ServerResponse): () => void {
  let seen = -1;
  let since = performance.now();
  const timer = setInterval(() => {
    const progress = (response.socket?.bytesWritten ?? 0) - response.writableLength;
    if (progress !== seen || !response.writableNeedDrain) since = performance.now();
    seen = progress;
    if (performance.now() - since > STALLED_MS) response.destroy();
  }, LOOK_MS).unref();
  return () => clearInterval(timer);
}
