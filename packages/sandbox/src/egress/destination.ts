import { isIP, isIPv6 } from "node:net";
import type { EgressPolicy } from "../sandbox.ts";

/** Where a sandbox wants to connect. */
export interface Destination {
  /** Lower-case name without final dot, or an IP address without brackets. */
  readonly host: string;
  readonly port: number;
}

/** Ports open to any allowed host; others only where the policy names them. */
const WEB_PORTS = [80, 443];

const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;

/**
 * Normalises a host. Null for what is neither an IP address in its usual form nor a DNS name. Other spellings of
 * addresses (`2130706433`, `0x7f.1`, `017700000001`) are no names: their last label is a number.
 */
function parseHost(text: string): string | null {
  if (text.startsWith("[") && text.endsWith("]")) {
    const inner = text.slice(1, -1).toLowerCase();
    return isIPv6(inner) ? inner : null;
  }
  const host = text.toLowerCase().replace(/\.$/, "");
  if (isIP(host)) return host;
  const labels = host.split(".");
  const last = labels.at(-1) as string;
  if (host.length > 253 || !labels.every((label) => LABEL.test(label)) || /^(\d+|0x[0-9a-f]*)$/.test(last)) return null;
  return host;
}

/** Reads `host:port`, with IPv6 in brackets. Null when it is malformed. */
export function parseAuthority(text: string, defaultPort?: number): Destination | null {
  const match = /^(\[[^\]]*\]|[^:@/?#\s]+)(?::(\d{1,5}))?$/.exec(text);
  if (!match) return null;
  const host = parseHost(match[1] as string);
  const port = match[2] === undefined ? defaultPort : Number(match[2]);
  return host === null || port === undefined || port < 1 || port > 65535 ? null : { host, port };
}

function matches(pattern: string, host: string): boolean {
  const wanted = pattern.toLowerCase().replace(/\.$/, "");
  return wanted.startsWith("*.") ? host.endsWith(wanted.slice(1)) && host.length > wanted.length - 1 : host === wanted;
}

/** What a policy says of a destination before its addresses are known. */
export type Judgement = { readonly kind: "trusted" | "public" } | { readonly kind: "denied"; readonly reason: string };

/**
 * Judges a destination by name and port. `trusted` entries need no further check. `allow` entries are names or `*.suffix`
 * (which does not match the suffix itself), optionally with `:port`; without one they open ports 80 and 443.
 */
export function judge(policy: EgressPolicy, { host, port }: Destination): Judgement {
  for (const entry of policy.trusted) {
    const trusted = parseAuthority(entry);
    if (trusted && trusted.host === host && trusted.port === port) return { kind: "trusted" };
  }
  if (policy.allow === null) {
    return WEB_PORTS.includes(port)
      ? { kind: "public" }
      : { kind: "denied", reason: `port ${port} is not open; only 80 and 443 are` };
  }
  const named = policy.allow.filter((entry) => {
    const match = /^(.*?)(?::(\d+))?$/.exec(entry) as RegExpExecArray;
    const ports = match[2] === undefined ? WEB_PORTS : [Number(match[2])];
    return matches(match[1] as string, host) && ports.includes(port);
  });
  return named.length > 0
    ? { kind: "public" }
    : { kind: "denied", reason: `${host}:${port} is not on the list of allowed destinations` };
}
