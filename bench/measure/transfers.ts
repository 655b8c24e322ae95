import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { type Agent, type IncomingMessage, request } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { Upload } from "tus-js-client";

const READ_BYTES = 256 * 1024;

/** How a file was sent, or brought. */
export interface Transfer {
  readonly bytes: number;
  readonly ms: number;
}

/** Sends a file as the body of a POST. @throws Error when the answer is not 2xx */
export async function sendRaw(url: string, path: string): Promise<Transfer> {
  const { size } = await stat(path);
  return send(url, "application/octet-stream", size, createReadStream(path, { highWaterMark: READ_BYTES }));
}

/** Sends a file as a form does. @throws Error when the answer is not 2xx */
export async function sendMultipart(url: string, path: string): Promise<Transfer> {
  const { size } = await stat(path);
  const boundary = "treadle-bench-boundary";
  const before = `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="multipart.bin"\r\nContent-Type: application/octet-stream\r\n\r\n`;
  const after = `\r\n--${boundary}--\r\n`;
  async function* body(): AsyncGenerator<Buffer, void> {
    yield Buffer.from(before);
    yield* createReadStream(path, { highWaterMark: READ_BYTES }) as AsyncIterable<Buffer>;
    yield Buffer.from(after);
  }
  const length = before.length + size + after.length;
  const { ms } = await send(
    url,
    `multipart/form-data; boundary=${boundary}`,
    length,
    Readable.from(body(), { objectMode: false }),
  );
  return { bytes: size, ms };
}

/** Sends a file with the reference client of the tus protocol. */
export async function sendTus(url: string, path: string): Promise<Transfer> {
  const { size } = await stat(path);
  const start = performance.now();
  await new Promise<void>((resolve, reject) => {
    const file = createReadStream(path);
    const upload = new Upload(file as never, {
      endpoint: url,
      metadata: { filename: "tus.bin" },
      retryDelays: null,
      onSuccess: () => resolve(),
      onError: reject,
    });
    upload.start();
  });
  return { bytes: size, ms: performance.now() - start };
}

/** Brings the bytes, or a part of them (`range`, as in HTTP), and hands them on as they come. @throws Error when the answer is not 2xx */
export async function bring(
  url: string,
  options: {
    readonly range?: string;
    readonly agent?: Agent;
    readonly onChunk?: (chunk: Buffer) => void;
    /** Reads no faster than this. */
    readonly bytesPerSecond?: number;
  } = {},
): Promise<Transfer> {
  const start = performance.now();
  const { range, agent, onChunk, bytesPerSecond } = options;
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const headers = range === undefined ? {} : { range: `bytes=${range}` };
    const asked = request(url, { headers, ...(agent === undefined ? {} : { agent }) }, resolve);
    asked.on("error", reject);
    asked.end();
  });
  await refuse(response, range === undefined ? 200 : 206);
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    onChunk?.(chunk);
    if (bytesPerSecond === undefined) continue;
    const early = (bytes / bytesPerSecond) * 1000 - (performance.now() - start);
    if (early > 1) await sleep(early);
  }
  return { bytes, ms: performance.now() - start };
}

async function send(url: string, type: string, length: number, body: Readable): Promise<Transfer> {
  const start = performance.now();
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const asked = request(url, { method: "POST", headers: { "content-type": type, "content-length": length } }, resolve);
    pipeline(body, asked).catch(reject);
  });
  await refuse(response);
  response.resume();
  return { bytes: length, ms: performance.now() - start };
}

async function refuse(response: IncomingMessage, only?: number): Promise<void> {
  const status = response.statusCode ?? 0;
  if (only === undefined ? status >= 200 && status < 300 : status === only) return;
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  throw new Error(`${response.url} answered ${status}: ${Buffer.concat(chunks).toString("utf8").slice(0, 500)}`);
}
