import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { isTreadleError, TreadleError } from "@treadle/errors";
import { parseAuthority } from "@treadle/sandbox";
import type { ByteRange } from "../../file.ts";
import { parseHttpAddress } from "../address.ts";
import { DownloadError } from "../download-error.ts";
import { type Answer, type Download, HttpDownloads } from "../http-downloads.ts";
import { accessHeaders } from "./access-headers.ts";
import { strongestChecksum, type VerifiableChecksum, verified } from "./checksums.ts";
import { type DrsAccessMethod, type DrsAccessUrl, type DrsObject, readAccessUrl, readDrsObject } from "./drs-object.ts";
import { type DrsUri, parseDrsUri } from "./drs-uri.ts";

const MAX_JSON_BYTES = 8 * 1024 * 1024;
/** How long an object that is being prepared (202) is waited for at a time, and in all. */
const LONGEST_WAIT_SECONDS = 60;
const WAITS_MS = 10 * 60 * 1000;
const DEFAULT_WAIT_SECONDS = 5;

/** An object of a DRS server and the ways to its bytes. */
export interface ResolvedDrsObject {
  readonly uri: string;
  readonly object: DrsObject;
  /** What whole reads are held to, beside the size; null: the server gives no checksum that can be verified. */
  readonly checksum: VerifiableChecksum | null;
  /** The access methods that can be used, in the server's order. */
  readonly sources: readonly DrsSource[];
  /**
   * The bytes, or a part, from the first source that opens. A whole read ends with CHECKSUM_MISMATCH when size or checksum are not as promised.
   * @throws BAD_REQUEST for a bundle, IMPORT_FAILED
   */
  open(range?: ByteRange, signal?: AbortSignal): Promise<Readable>;
}

/** One way to an object's bytes. */
export interface DrsSource {
  readonly type: string;
  /** As `ResolvedDrsObject.open`, by this way only. */
  open(range?: ByteRange, signal?: AbortSignal): Promise<Download>;
}

/**
 * A client of GA4GH DRS servers, 1.0 to 1.5. Everything goes by the rules of egress. Servers are spoken to over https; those that are trusted by
 * `host:port` and do not speak TLS, over http.
 */
export class DrsClient {
  readonly #downloads: HttpDownloads;

  /** `trusted`: `host:port` pairs that are reached whatever their address. */
  constructor(options: { readonly trusted: readonly string[] } | HttpDownloads) {
    this.#downloads = options instanceof HttpDownloads ? options : new HttpDownloads(options.trusted);
  }

  /**
   * Asks for an object by its `drs://` URI. An object that is being prepared is waited for, at most ten minutes.
   * @throws BAD_REQUEST for a URI that cannot be one, IMPORT_FAILED, CHECKSUM_MISMATCH for a checksum that no bytes can have
   */
  async resolve(uri: string, signal: AbortSignal = new AbortController().signal): Promise<ResolvedDrsObject> {
    const parsed = parseDrsUri(uri);
    const { base, json } = await this.#ask(parsed, signal);
    const object = readDrsObject(json, parsed.id);
    if (object === null)
      throw new DownloadError("unexpected", `The DRS server ${parsed.authority} does not answer with an object.`);
    const checksum = object.isBundle ? null : strongestChecksum(object.checksums);
    const promise = { size: object.size, checksum };
    const sources = object.accessMethods
      .filter((method) => method.accessId !== null || isHttp(method.accessUrl?.url))
      .map(
        (method): DrsSource => ({
          type: method.type,
          open: (range, signal) => this.#open(method, base, promise, range, signal),
        }),
      );
    const open: ResolvedDrsObject["open"] = async (range, signal) => {
      if (object.isBundle) throw bundleRefused(uri);
      let failure: unknown = noSource(uri, object);
      for (const source of sources) {
        try {
          return (await source.open(range, signal)).body;
        } catch (error) {
          if (signal?.aborted || !isTreadleError(error)) throw error;
          failure = error;
        }
      }
      throw failure;
    };
    return { uri, object, checksum, sources, open };
  }

  /** GET of the object: over https, and where a trusted server does not speak TLS, over http. */
  async #ask(uri: DrsUri, signal: AbortSignal): Promise<{ base: URL; json: unknown }> {
    const base = (scheme: string) =>
      new URL(
        `${scheme}://${uri.authority}${scheme === "http" && uri.port === 443 ? ":443" : ""}/ga4gh/drs/v1/objects/${encodeURIComponent(uri.id)}`,
      );
    try {
      return { base: base("https"), json: await this.#json(base("https"), signal) };
    } catch (error) {
      if (!(error instanceof DownloadError) || !speaksNoTls(error) || !this.#isTrusted(uri)) throw error;
      return { base: base("http"), json: await this.#json(base("http"), signal) };
    }
  }

  #isTrusted(uri: DrsUri): boolean {
    return this.#downloads.trusted.some((entry) => {
      const trusted = parseAuthority(entry);
      return trusted !== null && trusted.host === uri.host && trusted.port === uri.port;
    });
  }

  async #open(
    method: DrsAccessMethod,
    base: URL,
    promise: { readonly size: number | null; readonly checksum: VerifiableChecksum | null },
    range: ByteRange | undefined,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<Download> {
    const access = isHttp(method.accessUrl?.url) ? method.accessUrl : await this.#access(base, method.accessId, signal);
    if (access === null || !isHttp(access.url)) {
      throw new DownloadError("unexpected", `The access method "${method.type.slice(0, 20)}" does not lead to an http address.`);
    }
    const address = takenAddress(access.url);
    const headers = accessHeaders(access.headers);
    if (Object.keys(headers).length > 0 && address.protocol === "http:" && base.protocol === "https:") {
      throw new DownloadError("denied", "The DRS server wants its headers sent without encryption.");
    }
    const download = await this.#downloads.open(address, { headers, signal, ...(range === undefined ? {} : { range }) });
    if (promise.size !== null && download.size !== null && download.size !== promise.size) {
      download.body.destroy();
      throw new TreadleError("CHECKSUM_MISMATCH", `There are ${download.size} bytes; the source had promised ${promise.size}.`);
    }
    if (range !== undefined) return download;
    const body = Readable.from(verified(download.body, promise), { objectMode: false });
    body.once("close", () => download.body.destroy());
    return { ...download, body };
  }

  async #access(base: URL, accessId: string | null, signal: AbortSignal): Promise<DrsAccessUrl | null> {
    if (accessId === null || accessId === "." || accessId === ".." || !accessId.isWellFormed()) return null;
    return readAccessUrl(await this.#json(new URL(`${base.href}/access/${encodeURIComponent(accessId)}`), signal));
  }

  /** The JSON of an answer, waiting where the server says that it is not ready. */
  async #json(address: URL, signal: AbortSignal): Promise<unknown> {
    const until = performance.now() + WAITS_MS;
    while (true) {
      const answer = await this.#downloads.get(address, { headers: { accept: "application/json" }, signal });
      const { statusCode: status = 0, headers } = answer.response;
      if (status === 202) {
        answer.response.destroy();
        const seconds = /^\d{1,9}$/.test(headers["retry-after"] ?? "") ? Number(headers["retry-after"]) : DEFAULT_WAIT_SECONDS;
        const wait = Math.min(Math.max(seconds, 1), LONGEST_WAIT_SECONDS) * 1000;
        if (performance.now() + wait > until) {
          throw new DownloadError("unreachable", `The DRS server ${address.host} has not made the object ready in time.`);
        }
        await delay(wait, undefined, { signal }).catch(() => signal.throwIfAborted());
        continue;
      }
      const text = await this.#text(answer, signal);
      if (status !== 200) {
        const said = status >= 400 ? messageOf(text) : "";
        throw new DownloadError("status", `The DRS server ${address.host} answers with status ${status}${said}.`, { status });
      }
      try {
        return JSON.parse(text);
      } catch (error) {
        throw new DownloadError("unexpected", `The DRS server ${address.host} does not answer with JSON.`, { cause: error });
      }
    }
  }

  async #text(answer: Answer, signal: AbortSignal): Promise<string> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of this.#downloads.read(answer, signal)) {
      bytes += chunk.length;
      if (bytes > MAX_JSON_BYTES) {
        throw new DownloadError(
          "unexpected",
          `The DRS server ${answer.url.host} answers with more than ${MAX_JSON_BYTES} bytes.`,
        );
      }
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString();
  }
}

/** @returns the error for a `drs://` address that is no single file */
export function bundleRefused(uri: string): TreadleError {
  return new TreadleError("BAD_REQUEST", `${uri.slice(0, 300)} is a bundle; bring the files in it one by one.`);
}

export function noSource(uri: string, object: DrsObject): DownloadError {
  const types = object.accessMethods.map(({ type }) => type.slice(0, 20)).join(", ") || "none";
  return new DownloadError("unexpected", `${uri.slice(0, 300)} cannot be had over http or https; its access methods: ${types}.`);
}

function isHttp(url: string | undefined): boolean {
  return url !== undefined && /^https?:\/\//i.test(url);
}

/** A wrong address is the server's fault here, not the user's. */
function takenAddress(url: string): URL {
  try {
    return parseHttpAddress(url);
  } catch (error) {
    throw new DownloadError("unexpected", "The DRS server gives an address that cannot be used.", { cause: error });
  }
}

function speaksNoTls({ cause }: DownloadError): boolean {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  return code === "EPROTO" || code.startsWith("ERR_SSL_");
}

/** What the standard's error body says, made harmless. */
function messageOf(text: string): string {
  try {
    const { msg } = JSON.parse(text) as { msg?: unknown };
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is removed.
    return typeof msg === "string" ? `: ${msg.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, " ").slice(0, 200)}` : "";
  } catch {
    return "";
  }
}
