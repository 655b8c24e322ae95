import { Resolver, lookup as systemLookup } from "node:dns/promises";
import { isIP } from "node:net";
import type { EgressPolicy } from "../sandbox.ts";
import { type Destination, judge } from "./destination.ts";
import { isPublicAddress } from "./public-address.ts";

/** Finds the addresses of a host name. `trusted`: the operator vouched for it. */
export type Lookup = (host: string, trusted: boolean) => Promise<string[]>;

/** Thrown when a destination may not be reached; the message is shown to user code. */
export class EgressDenied extends Error {
  override readonly name = "EgressDenied";
}

/**
 * Public names are asked of DNS without threads, since user code decides how many and how slow they are: the system's
 * getaddrinfo would take up the host's few threads. Trusted names are few, and may come from /etc/hosts.
 */
export const lookupAddresses: Lookup = async (host, trusted) => {
  if (trusted) return (await systemLookup(host, { all: true })).map(({ address }) => address);
  const resolver = new Resolver({ timeout: 3000, tries: 2 });
  const answers = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)]);
  return answers.flatMap((answer) => (answer.status === "fulfilled" ? answer.value : []));
};

/**
 * The addresses to connect to, in order. One address that is not public condemns the whole name: an answer that mixes
 * public and private ones is what a rebinding attack looks like. The caller must connect to these very addresses.
 */
export async function resolveDestination(policy: EgressPolicy, destination: Destination, lookup: Lookup): Promise<string[]> {
  const judgement = judge(policy, destination);
  if (judgement.kind === "denied") throw new EgressDenied(judgement.reason);
  const { host } = destination;
  const trusted = judgement.kind === "trusted";
  const addresses = isIP(host) ? [host] : await lookup(host, trusted).catch(() => []);
  if (addresses.length === 0) throw new EgressDenied(`${host} has no address`);
  if (!trusted && !addresses.every(isPublicAddress)) throw new EgressDenied(`${host} does not lead to a public address`);
  return addresses;
}
