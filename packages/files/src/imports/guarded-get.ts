import { type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { isIP } from "node:net";
import { EgressDenied, type Lookup, parseAuthority, resolveDestination } from "@treadle/sandbox";
import { shownAddress } from "./address.ts";
import { DownloadError } from "./download-error.ts";

const MAX_HEADER_BYTES = 16 * 1024;
/** A host's next address is tried when one has not answered by then. */
const NEXT_ADDRESS_MS = 3_000;
/** An answer that brings less than this in `idleMs` of waiting has stalled, however evenly it drips. */
const IDLE_BYTES = 1024;

/** How long to wait, milliseconds. */
export interface DownloadTimes {
  readonly connectMs: number;
  /** From the connection to the whole header of the answer. */
  readonly firstByteMs: number;
  readonly idleMs: number;
  /** Before the first new attempt after a break; doubled for each one more. */
  readonly retryMs: number;
}

export const DOWNLOAD_TIMES: DownloadTimes = { connectMs: 10_000, firstByteMs: 60_000, idleMs: 30_000, retryMs: 500 };

/** Where a GET may go, and how long it may take. */
export interface Access {
  /** `host:port` pairs that are reached whatever their address. */
  readonly trusted: readonly string[];
  readonly lookup: Lookup;
  readonly times: DownloadTimes;
}

/**
 * One GET, without redirects, by the rules of the sandboxes' egress: public addresses on ports 80 and 443, and trusted `host:port` pairs. The
 * connection goes to the very addresses that were checked. Resolves with the answer's header; the caller reads or destroys the body.
 *
 * @throws DownloadError, and the reason of `signal`
 */
export async function guardedGet(
  url: URL,
  headers: Readonly<Record<string, string>>,
  access: Access,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const { host, port, addresses } = await approve(url, access);
  signal.throwIfAborted();
  const secure = url.protocol === "https:";
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const checked = addresses.map((address) => ({ address, family: isIP(address) }));
  const options = {
    hostname: host,
    port,
    path: `${url.pathname}${url.search}`,
    headers: { ...headers, host: url.host, "accept-encoding": "identity" },
    // No connection of another request, and no proxy of the environment, which would resolve the name anew.
    agent: false as const,
    maxHeaderSize: MAX_HEADER_BYTES,
    autoSelectFamilyAttemptTimeout: NEXT_ADDRESS_MS,
    signal,
    // Not asked when the host is an address itself: that one was checked.
    lookup: (
      _host: string,
      { all }: { all?: boolean },
      answer: (error: null, found: string | typeof checked, family?: number) => void,
    ) => {
      const first = checked[0] as (typeof checked)[number];
      if (all === true) answer(null, checked);
      else answer(null, first.address, first.family);
    },
  };
  const sent = secure ? requestHttps(options) : requestHttp(options);
  const fail = (message: string) => () => sent.destroy(new DownloadError("unreachable", `${shownAddress(url)} ${message}.`));
  let timer = setTimeout(fail("cannot be connected to: no answer in time"), access.times.connectMs);
  sent.once("socket", (socket) =>
    socket.once(secure ? "secureConnect" : "connect", () => {
      clearTimeout(timer);
      timer = setTimeout(fail("takes the request but does not answer in time"), access.times.firstByteMs);
    }),
  );
  sent.once("response", resolve);
  // Stays for good: an error after the answer shows in its body.
  sent.on("error", (error) => reject(signal.aborted ? signal.reason : toDownloadError(error, url)));
  // Without an answer and without an error: one that would change the protocol.
  sent.once("close", () => reject(new DownloadError("unexpected", `${shownAddress(url)} does not answer as HTTP does.`)));
  sent.end();
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}

async function approve(url: URL, access: Access): Promise<{ host: string; port: number; addresses: string[] }> {
  const destination = parseAuthority(url.host, url.protocol === "https:" ? 443 : 80);
  if (destination === null) throw new DownloadError("denied", `${shownAddress(url)} does not name a host that can be reached.`);
  let hasAddress = true;
  try {
    const addresses = await resolveDestination({ allow: null, trusted: access.trusted }, destination, async (host, trusted) => {
      const found = await access.lookup(host, trusted).catch(() => []);
      hasAddress = found.length > 0;
      return found;
    });
    return { ...destination, addresses };
  } catch (error) {
    if (!(error instanceof EgressDenied)) throw error;
    throw hasAddress
      ? new DownloadError("denied", `${shownAddress(url)} may not be reached: ${error.message}.`)
      : new DownloadError("unreachable", `${shownAddress(url)} cannot be reached: ${error.message}.`);
  }
}

function toDownloadError(error: Error & { code?: string }, url: URL): DownloadError {
  if (error instanceof DownloadError) return error;
  const { code = "" } = error;
  if (code === "HPE_HEADER_OVERFLOW") {
    return new DownloadError("unexpected", `${shownAddress(url)} answers with a header of more than ${MAX_HEADER_BYTES} bytes.`);
  }
  if (code.startsWith("HPE_")) {
    return new DownloadError("unexpected", `${shownAddress(url)} does not answer as HTTP does.`, { cause: error });
  }
  // Certificates that do not hold, and servers that do not speak TLS: the same tomorrow.
  if (/^(CERT_|ERR_TLS_|ERR_SSL_|EPROTO$|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|HOSTNAME_MISMATCH)/.test(code)) {
    return new DownloadError("unexpected", `${shownAddress(url)} cannot be trusted: ${error.message.trim().slice(0, 200)}`, {
      cause: error,
    });
  }
  return new DownloadError("unreachable", `${shownAddress(url)} cannot be reached: ${code || error.message}.`, { cause: error });
}

/** The body of an answer; ends with a DownloadError when it breaks off or stalls. The time that the reader takes does not count. */
export async function* timedBody(
  response: IncomingMessage,
  url: URL,
  times: DownloadTimes,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  let left = times.idleMs;
  let bytes = 0;
  let since = performance.now();
  const stall = () => response.destroy(new DownloadError("stalled", `${shownAddress(url)} stopped sending half-way.`));
  let timer = setTimeout(stall, left);
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      clearTimeout(timer);
      bytes += chunk.length;
      left -= performance.now() - since;
      if (bytes >= IDLE_BYTES) [bytes, left] = [0, times.idleMs];
      yield chunk;
      since = performance.now();
      timer = setTimeout(stall, Math.max(1, left));
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (error instanceof DownloadError) throw error;
    throw new DownloadError("broken", `The connection to ${shownAddress(url)} broke off half-way.`, { cause: error });
  } finally {
    clearTimeout(timer);
    response.destroy();
  }
}
