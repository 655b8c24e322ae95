import { createCipheriv, createHash, randomInt } from "node:crypto";
import { request } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { Answer } from "../harness/http.ts";

const SIZES = [0, 1, 1_000, 65_536, 300_001, 3_000_000, 12_000_000];
const SLICE_BYTES = 64 * 1024;
/** Contents that several uploads have at a time. */
const SHARED_SEEDS = 2;

/** Bytes that are the same for the same seed and size. */
export function contentOf(seed: string, size: number): Buffer {
  const key = createHash("sha256").update(seed).digest().subarray(0, 16);
  return createCipheriv("aes-128-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(size));
}

export function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** A file as the API gives it, as far as these tests read it. */
export interface ListedFile {
  readonly id: string;
  readonly name: string;
  readonly sha256: string;
  readonly size: number;
}

/** A body that waits in the middle. */
export interface Held {
  /** Sent at once. */
  readonly first: number;
  /** Then it waits for this. */
  readonly until: Promise<void>;
}

export interface SendFileOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly held?: Held;
}

/**
 * Sends bytes as a stream and resolves with the answer; rejects when the connection breaks without one. An answer that comes before all is
 * sent ends the sending.
 */
export function sendFile(
  port: number,
  method: string,
  path: string,
  bytes: Buffer,
  options: SendFileOptions = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/octet-stream", "content-length": String(bytes.length), ...options.headers };
    const outgoing = request({ host: "127.0.0.1", port, method, path, headers, agent: false }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.on("error", reject);
      incoming.on("end", () => {
        resolve(new Answer(incoming.statusCode ?? 0, incoming.headers, Buffer.concat(chunks).toString("utf8")));
        outgoing.destroy();
      });
    });
    outgoing.on("error", reject);
    outgoing.setTimeout(60_000, () => outgoing.destroy(new Error(`no answer to ${method} ${path} in 60 s`)));
    pipeline(Readable.from(slicesOf(bytes, options.held), { objectMode: false }), outgoing).catch(reject);
  });
}

async function* slicesOf(bytes: Buffer, held: Held | undefined): AsyncGenerator<Buffer, void> {
  const { first, until } = held ?? { first: bytes.length, until: Promise.resolve() };
  for (let at = 0; at < first; at += SLICE_BYTES) yield bytes.subarray(at, Math.min(at + SLICE_BYTES, first));
  await until;
  for (let at = first; at < bytes.length; at += SLICE_BYTES) yield bytes.subarray(at, at + SLICE_BYTES);
}

const BOUNDARY = "treadle-test-boundary";

/** The ways a whole file is sent in one request. */
export const WAYS = {
  raw: (port: number, workspace: string, name: string, bytes: Buffer, held?: Held) =>
    sendFile(port, "POST", `/api/v1/workspaces/${workspace}/files?name=${name}`, bytes, held === undefined ? {} : { held }),
  multipart: (port: number, workspace: string, name: string, bytes: Buffer, held?: Held) =>
    sendFile(
      port,
      "POST",
      `/api/v1/workspaces/${workspace}/files`,
      Buffer.concat([
        Buffer.from(
          `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="${name}"\r\nContent-Type: application/octet-stream\r\n\r\n`,
        ),
        bytes,
        Buffer.from(`\r\n--${BOUNDARY}--\r\n`),
      ]),
      { headers: { "content-type": `multipart/form-data; boundary=${BOUNDARY}` }, ...(held === undefined ? {} : { held }) },
    ),
} as const;

/** An upload by the tus protocol, which outlives connections and servers. */
export class TusUpload {
  readonly workspace: string;
  readonly name: string;
  readonly bytes: Buffer;
  /** Path of the upload; null until the server has acknowledged its creation. */
  path: string | null = null;

  constructor(workspace: string, name: string, bytes: Buffer) {
    this.workspace = workspace;
    this.name = name;
    this.bytes = bytes;
  }

  async create(port: number): Promise<Answer> {
    const answer = await sendFile(port, "POST", `/api/v1/workspaces/${this.workspace}/uploads`, Buffer.alloc(0), {
      headers: {
        "tus-resumable": "1.0.0",
        "upload-length": String(this.bytes.length),
        "upload-metadata": `filename ${Buffer.from(this.name).toString("base64")}`,
      },
    });
    const { location } = answer.headers;
    if (answer.status === 201 && location !== undefined) this.path = new URL(location, "http://localhost").pathname;
    return answer;
  }

  /** Sends what is missing, from where the server says. The answer with the file's id has the header `treadle-file`. */
  async goOn(port: number, held?: Held): Promise<Answer> {
    const path = this.path as string;
    const head = await sendFile(port, "HEAD", path, Buffer.alloc(0), { headers: { "tus-resumable": "1.0.0" } });
    if (head.status >= 300) return head;
    const offset = Number(head.headers["upload-offset"]);
    if (offset === this.bytes.length) return head;
    return sendFile(port, "PATCH", path, this.bytes.subarray(offset), {
      headers: { "tus-resumable": "1.0.0", "upload-offset": String(offset), "content-type": "application/offset+octet-stream" },
      ...(held === undefined ? {} : { held }),
    });
  }
}

/** A ledger of the files a server has acknowledged, kept while uploads of every kind go on side by side. */
export class FileLoad {
  readonly workspace: string;
  /** Digest of each name that was ever sent. */
  readonly sent = new Map<string, string>();
  /** Digest of each file acknowledged, by id. */
  readonly acknowledged = new Map<string, string>();
  /** Uploads that were begun and have not been seen to end. */
  readonly unfinished = new Set<TusUpload>();
  readonly refusals: string[] = [];
  /** Connections that broke while an answer was due. */
  broken = 0;
  readonly #workers: Promise<void>[] = [];
  #over = false;

  constructor(workspace: string) {
    this.workspace = workspace;
  }

  /** Goes on sending files one after the other by one way; `key` tells workers apart. */
  start(port: number, way: keyof typeof WAYS | "tus", key: string): void {
    this.#workers.push(this.#repeat(way, key, port));
  }

  /** Ends it and waits until nothing is under way. */
  async end(): Promise<void> {
    this.#over = true;
    await Promise.all(this.#workers);
  }

  /** Notes what an upload was answered. */
  note(name: string, answer: Answer): void {
    if (answer.status >= 400) {
      this.refusals.push(answer.text === "" ? String(answer.status) : (answer.code ?? ""));
      return;
    }
    const id = answer.headers["treadle-file"] ?? (answer.json.files as readonly ListedFile[])[0]?.id;
    if (typeof id !== "string") throw new Error(`an answer without the file's id: ${answer.status} ${answer.text}`);
    this.acknowledged.set(id, this.sent.get(name) as string);
  }

  async #repeat(way: keyof typeof WAYS | "tus", key: string, port: number): Promise<void> {
    for (let turn = 0; !this.#over; turn++) {
      const name = `${way}-${key}-${turn}`;
      const size = SIZES[randomInt(SIZES.length)] as number;
      const bytes = contentOf(turn % 3 === 0 ? `shared ${randomInt(SHARED_SEEDS)}` : name, size);
      this.sent.set(name, sha256Of(bytes));
      const answer = await (way === "tus"
        ? this.#sendTus(port, new TusUpload(this.workspace, name, bytes))
        : WAYS[way](port, this.workspace, name, bytes)
      ).catch(() => null);
      if (answer !== null) this.note(name, answer);
      else {
        this.broken += 1;
        await delay(20);
      }
    }
  }

  async #sendTus(port: number, upload: TusUpload): Promise<Answer> {
    this.unfinished.add(upload);
    const created = await upload.create(port);
    // An empty one is whole as soon as it is begun.
    const last = upload.path === null || created.headers["treadle-file"] !== undefined ? created : await upload.goOn(port);
    this.unfinished.delete(upload);
    return last;
  }
}
