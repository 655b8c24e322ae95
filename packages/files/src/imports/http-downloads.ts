import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { isTreadleError } from "@treadle/errors";
import { type Lookup, lookupAddresses } from "@treadle/sandbox";
import type { ByteRange } from "../file.ts";
import { parseHttpAddress, shownAddress } from "./address.ts";
import { DownloadError } from "./download-error.ts";
import { mediaType, nameInDisposition } from "./file-name.ts";
import { type Access, DOWNLOAD_TIMES, type DownloadTimes, guardedGet, timedBody } from "./guarded-get.ts";
import { type Part, readPart, strongValidator } from "./part.ts";

const MAX_REDIRECTS = 5;
/** Breaks in a row, without `PROGRESS_BYTES` between them, after which a download is given up. */
const MAX_BREAKS = 5;
const PROGRESS_BYTES = 1024 * 1024;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** An answer after its redirects; the body is still to be read or destroyed. */
export interface Answer {
  readonly response: IncomingMessage;
  /** Where it came from. */
  readonly url: URL;
}

/** Bytes of an address on their way. */
export interface Download {
  /** Bytes of the whole, where the server has said; also when only a part was asked for. */
  readonly size: number | null;
  /** What the server calls it, cleaned. */
  readonly fileName: string | null;
  readonly mimeType: string | null;
  /** Exactly what was announced, or an error. Destroying it ends the connection. */
  readonly body: Readable;
}

export interface GetOptions {
  /** Sent to the origin of the address only, never along a redirect to another one. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** GETs of addresses that users name, by the rules of egress. */
export class HttpDownloads {
  readonly #access: Access;

  /** `trusted`: `host:port` pairs that are reached whatever their address. */
  constructor(trusted: readonly string[], options: { readonly lookup?: Lookup; readonly times?: Partial<DownloadTimes> } = {}) {
    this.#access = { trusted, lookup: options.lookup ?? lookupAddresses, times: { ...DOWNLOAD_TIMES, ...options.times } };
  }

  get trusted(): readonly string[] {
    return this.#access.trusted;
  }

  /**
   * The answer to a GET, at most five redirects away; each of those is checked like the first address, and none leads from https to http.
   * @throws DownloadError
   */
  async get(address: URL, { headers = {}, signal = new AbortController().signal }: GetOptions = {}): Promise<Answer> {
    let url = address;
    for (let redirects = 0; ; redirects++) {
      const own = url.origin === address.origin ? headers : {};
      const response = await guardedGet(url, { "user-agent": "Treadle", accept: "*/*", ...own }, this.#access, signal);
      if (!REDIRECTS.has(response.statusCode ?? 0)) return { response, url };
      response.destroy();
      if (redirects === MAX_REDIRECTS) {
        throw new DownloadError("unexpected", `${shownAddress(address)} redirects more than ${MAX_REDIRECTS} times.`);
      }
      url = redirected(url, response.headers.location);
    }
  }

  /** Reads the body of an answer; errors are DownloadErrors. */
  read({ response, url }: Answer, signal: AbortSignal = new AbortController().signal): AsyncGenerator<Buffer> {
    return timedBody(response, url, this.#access.times, signal);
  }

  /**
   * Opens the bytes of an address, or a part of them. Where the connection breaks and the server has given a strong validator, they are gone on with
   * (Range, If-Range) unnoticed; else `body` ends with a DownloadError that is `passing`. A server without ranges has the bytes before a
   * part read and dropped.
   *
   * @throws DownloadError, and the reason of `signal`
   */
  async open(address: URL, options: GetOptions & { readonly range?: ByteRange } = {}): Promise<Download> {
    const { range, headers = {} } = options;
    // Ends the connection when the body is destroyed, also before its first byte was asked for.
    const ended = new AbortController();
    const signal = options.signal === undefined ? ended.signal : AbortSignal.any([options.signal, ended.signal]);
    const ask = async (start: number, ifRange: string | null): Promise<Part> => {
      const wanted = start > 0 || range !== undefined ? `bytes=${start}-${range?.end ?? ""}` : null;
      const answer = await this.get(address, {
        signal,
        headers: {
          ...headers,
          ...(wanted === null ? {} : { range: wanted }),
          ...(ifRange === null ? {} : { "if-range": ifRange }),
        },
      });
      return readPart(answer, wanted === null ? null : { start, end: range?.end ?? null });
    };
    const first = await ask(range?.start ?? 0, null);
    const { headers: said } = first.answer.response;
    const body = Readable.from(this.#bytes(first, ask, range, signal), { objectMode: false });
    body.once("close", () => ended.abort());
    return {
      size: first.total,
      fileName: nameInDisposition(said["content-disposition"]),
      mimeType: mediaType(said["content-type"]),
      body,
    };
  }

  async *#bytes(
    first: Part,
    ask: (start: number, ifRange: string | null) => Promise<Part>,
    range: ByteRange | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<Buffer> {
    const validator = strongValidator(first.answer.response.headers);
    let at = range?.start ?? 0;
    let breaks = 0;
    let progress = at;
    let part: Part | null = first;
    while (true) {
      try {
        part ??= continued(await ask(at, validator), first, validator);
        for await (const chunk of this.#partBytes(part, at, range, signal)) {
          at += chunk.length;
          yield chunk;
        }
        return;
      } catch (error) {
        if (!(error instanceof DownloadError) || !error.passing || error.failure === "changed" || validator === null) throw error;
        if (at - progress >= PROGRESS_BYTES) [progress, breaks] = [at, 0];
        if (++breaks > MAX_BREAKS) throw error;
        part = null;
        await delay(this.#access.times.retryMs * 2 ** (breaks - 1), undefined, { signal }).catch(() => signal.throwIfAborted());
      }
    }
  }

  /** The bytes of an answer from `at` on. An answer that began earlier has the rest dropped, one that ends early or late is an error. */
  async *#partBytes(part: Part, at: number, range: ByteRange | undefined, signal: AbortSignal): AsyncGenerator<Buffer> {
    const { answer } = part;
    const end = range === undefined ? Number.POSITIVE_INFINITY : range.end + 1;
    let position = part.start;
    for await (const chunk of this.read(answer, signal)) {
      const from = Math.max(0, at - position);
      const to = Math.min(chunk.length, end - position);
      position += chunk.length;
      if (part.end !== null && position > part.end) {
        throw new DownloadError("unexpected", `${shownAddress(answer.url)} sends more than it announced.`);
      }
      if (from < to) yield from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to);
      if (position >= end) return;
    }
    if (part.end !== null && position < part.end) {
      throw new DownloadError("broken", `${shownAddress(answer.url)} sent less than it announced.`);
    }
  }
}

function redirected(from: URL, location: string | undefined): URL {
  if (location === undefined || !URL.canParse(location, from.href)) {
    throw new DownloadError("unexpected", `${shownAddress(from)} redirects to no address.`);
  }
  let to: URL;
  try {
    to = parseHttpAddress(new URL(location, from).href);
  } catch (error) {
    if (!isTreadleError(error)) throw error;
    throw new DownloadError("denied", `${shownAddress(from)} redirects to an address that is not taken: ${error.message}`);
  }
  if (from.protocol === "https:" && to.protocol === "http:") {
    throw new DownloadError("denied", `${shownAddress(from)} redirects from https to http.`);
  }
  return to;
}

/** Holds the answer that goes on to be of the same bytes as the first. */
function continued(part: Part, first: Part, validator: string | null): Part {
  const { response, url } = part.answer;
  const same = strongValidator(response.headers);
  const changed =
    (part.total !== null && first.total !== null && part.total !== first.total) ||
    // An answer from the start is what a server gives whose bytes have changed, or one that knows no ranges.
    (response.statusCode === 200 ? same !== validator : same !== null && same !== validator);
  if (!changed) return part;
  response.destroy();
  throw new DownloadError("changed", `${shownAddress(url)} changed while it was being read.`);
}
