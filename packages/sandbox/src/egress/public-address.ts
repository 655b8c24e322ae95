import { BlockList, isIP, isIPv4 } from "node:net";
import { networkInterfaces } from "node:os";

/**
 * IPv4 addresses that are not the public internet: IANA's special-purpose registry (RFC 6890 and its updates), multicast,
 * reserved, and the one cloud metadata address that lies in public space (Azure's 168.63.129.16).
 */
const SPECIAL_IPV4: readonly (readonly [string, number])[] = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["168.63.129.16", 32],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
];

/** Inside 2000::/3, the only global unicast space: protocol assignments with Teredo and ORCHID, documentation, 6to4. */
const SPECIAL_IPV6: readonly (readonly [string, number])[] = [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
];

const specialIpv4 = new BlockList();
for (const [address, prefix] of SPECIAL_IPV4) specialIpv4.addSubnet(address, prefix, "ipv4");
const specialIpv6 = new BlockList();
for (const [address, prefix] of SPECIAL_IPV6) specialIpv6.addSubnet(address, prefix, "ipv6");
const globalUnicast = new BlockList();
globalUnicast.addSubnet("2000::", 3, "ipv6");
/** Forms that carry an IPv4 address in their last 32 bits: mapped (::ffff:0:0/96) and NAT64 (RFC 6052). */
const embedding = new BlockList();
embedding.addSubnet("::ffff:0:0", 96, "ipv6");
embedding.addSubnet("64:ff9b::", 96, "ipv6");

/** The last 32 bits of an IPv6 address as dotted IPv4. */
function embeddedIpv4(address: string): string {
  const dotted = /(\d+\.\d+\.\d+\.\d+)$/.exec(address);
  if (dotted) return dotted[1] as string;
  const [head, tail] = address.split("::") as [string, string | undefined];
  const right = (tail ?? head).split(":").filter(Boolean);
  const [high, low] = [Number.parseInt(right.at(-2) ?? "0", 16), Number.parseInt(right.at(-1) ?? "0", 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}

function isOwnAddress(address: string): boolean {
  const own = new BlockList();
  for (const list of Object.values(networkInterfaces())) {
    for (const { address: mine, family } of list ?? []) own.addAddress(mine, family === "IPv6" ? "ipv6" : "ipv4");
  }
  return own.check(address, isIPv4(address) ? "ipv4" : "ipv6");
}

/**
 * True for an address that leads to the public internet and not to this machine: user code could otherwise reach what
 * listens on the host's own public address from behind its firewall. False for text that is not an IP address.
 */
export function isPublicAddress(address: string): boolean {
  const version = isIP(address);
  // A zone (`%eth0`) only belongs to link-local addresses.
  if (version === 0 || address.includes("%")) return false;
  if (version === 4) return !specialIpv4.check(address, "ipv4") && !isOwnAddress(address);
  if (embedding.check(address, "ipv6")) return isPublicAddress(embeddedIpv4(address));
  return globalUnicast.check(address, "ipv6") && !specialIpv6.check(address, "ipv6") && !isOwnAddress(address);
}
