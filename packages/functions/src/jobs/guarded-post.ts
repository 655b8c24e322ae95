import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { isIP } from "node:net";
import { lookupAddresses, parseAuthority, resolveDestination } from "@treadle/sandbox";

const MAX_HEADER_BYTES = 16 * 1024;
const TIME_LIMIT_MS = 15_000;

/**
 * One POST by the rules of the sandboxes' egress: public addresses on ports 80 and 443, and trusted `host:port` pairs; to the very addresses that were checked,
 * without proxies and redirects. Resolves with the answer's status; its body is not read.
 * @throws Error saying why there was no answer; EgressDenied
 */
export async function guardedPost(
  url: URL,
  headers: Readonly<Record<string, string>>,
  body: string,
  options: { readonly trusted: readonly string[]; readonly signal: AbortSignal },
): Promise<number> {
  const secure = url.protocol === "https:";
  const destination = parseAuthority(url.host, secure ? 443 : 80);
  if (destination === null) throw new Error(`${url.host} does not name a host that can be reached`);
  const addresses = await resolveDestination({ allow: null, trusted: options.trusted }, destination, lookupAddresses);
  const checked = addresses.map((address) => ({ address, family: isIP(address) }));
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(TIME_LIMIT_MS)]);
  return new Promise((resolve, reject) => {
    const sent = (secure ? requestHttps : requestHttp)({
      method: "POST",
      hostname: destination.host,
      port: destination.port,
      path: `${url.pathname}${url.search}`,
      headers: { ...headers, host: url.host, "content-length": String(Buffer.byteLength(body)) },
      agent: false as const,
      maxHeaderSize: MAX_HEADER_BYTES,
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
    });
    sent.on("error", (error) =>
      reject(signal.aborted && !options.signal.aborted ? new Error("there was no answer in time") : error),
    );
    sent.on("response", (response) => {
      resolve(response.statusCode ?? 0);
      response.on("error", () => {});
      response.destroy();
    });
    sent.end(body);
  });
}
