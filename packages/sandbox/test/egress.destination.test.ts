import { networkInterfaces } from "node:os";
import { expect, test } from "vitest";
import { judge, parseAuthority } from "../src/egress/destination.ts";
import { isPublicAddress } from "../src/egress/public-address.ts";

test.each([
  ["private", ["10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd00::1", "fd00:ec2::254", "fc00::1"]],
  ["loopback and unspecified", ["127.0.0.1", "127.255.0.1", "0.0.0.0", "0.1.2.3", "::1", "::"]],
  ["link-local", ["169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "febf::1"]],
  ["carrier-grade NAT", ["100.64.0.1", "100.100.100.200", "100.127.255.255"]],
  ["multicast, reserved, broadcast", ["224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "ff02::1"]],
  [
    "documentation and benchmarks",
    ["192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "2001:2::1", "3fff::1"],
  ],
  ["cloud metadata in public space", ["168.63.129.16"]],
  [
    "IPv4-mapped",
    [
      "::ffff:127.0.0.1",
      "::ffff:7f00:1",
      "::ffff:169.254.169.254",
      "::ffff:a9fe:a9fe",
      "::FFFF:10.0.0.1",
      "0:0:0:0:0:ffff:c0a8:0101",
    ],
  ],
  ["IPv4-compatible and translated", ["::127.0.0.1", "::7f00:1", "::ffff:0:127.0.0.1"]],
  ["NAT64", ["64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::a00:1", "64:ff9b:1::1.1.1.1"]],
  ["6to4 and Teredo", ["2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1", "2001::1", "2001:0:7f00:1::"]],
  ["discard, site-local, unallocated", ["100::1", "fec0::1", "4000::1", "5f00::1"]],
  ["no addresses", ["", "localhost", "2130706433", "0x7f000001", "127.1", "1.2.3.4.5"]],
])("not public: %s", (_kind, addresses) => {
  for (const address of addresses) expect([address, isPublicAddress(address)]).toEqual([address, false]);
});

test("public ones are", () => {
  for (const address of [
    "1.1.1.1",
    "8.8.8.8",
    "172.15.0.1",
    "172.32.0.1",
    "100.63.0.1",
    "100.128.0.1",
    "192.0.1.1",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450::1",
    "2001:4860:4860::8888",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
  ]) {
    expect([address, isPublicAddress(address)]).toEqual([address, true]);
  }
});

test("the host's own addresses are not, whatever they are", () => {
  for (const { address } of Object.values(networkInterfaces()).flatMap((list) => list ?? []))
    expect(isPublicAddress(address)).toBe(false);
});

test("authorities are read strictly", () => {
  expect(parseAuthority("Example.COM.:443")).toEqual({ host: "example.com", port: 443 });
  expect(parseAuthority("[::1]:80")).toEqual({ host: "::1", port: 80 });
  expect(parseAuthority("example.com", 80)).toEqual({ host: "example.com", port: 80 });
  for (const text of [
    "example.com",
    "example.com:0",
    "example.com:65536",
    "example.com:8x",
    ":80",
    "user@example.com:80",
    "a b:80",
    "::1:80",
    "[::1:80",
    "exa mple:1",
    "a/b:80",
    "a..b:80",
    "-a.b:80",
    `${"a".repeat(64)}.b:80`,
    "2130706433:80",
    "0x7f.0.0.1:80",
    "127.1:80",
    "0177.0.0.1:80",
    "1.2.3.0x4:80",
    "例え.jp:80",
    "a\0b:80",
    "a%00:80",
  ]) {
    expect([text, parseAuthority(text)]).toEqual([text, null]);
  }
});

test("policies judge names and ports", () => {
  const kind = (allow: string[] | null, trusted: string[], text: string) => {
    const destination = parseAuthority(text);
    return destination && judge({ allow, trusted }, destination).kind;
  };
  expect(kind(null, [], "example.com:443")).toBe("public");
  expect(kind(null, [], "example.com:22")).toBe("denied");
  expect(kind([], [], "example.com:443")).toBe("denied");
  expect(kind(["example.com"], [], "EXAMPLE.com.:80")).toBe("public");
  expect(kind(["example.com"], [], "www.example.com:80")).toBe("denied");
  expect(kind(["*.example.com"], [], "www.example.com:80")).toBe("public");
  expect(kind(["*.example.com"], [], "a.b.example.com:80")).toBe("public");
  expect(kind(["*.example.com"], [], "example.com:80")).toBe("denied");
  expect(kind(["*.example.com"], [], "evilexample.com:80")).toBe("denied");
  expect(kind(["*.example.com"], [], "example.com.evil.org:80")).toBe("denied");
  expect(kind(["db.example.com:5432"], [], "db.example.com:5432")).toBe("public");
  expect(kind(["db.example.com:5432"], [], "db.example.com:443")).toBe("denied");
  expect(kind([], ["localhost:3128"], "localhost:3128")).toBe("trusted");
  expect(kind([], ["localhost:3128"], "localhost:3129")).toBe("denied");
  expect(kind([], ["[::1]:3128"], "[::1]:3128")).toBe("trusted");
});
