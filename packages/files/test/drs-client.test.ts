import { randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { buffer } from "node:stream/consumers";
import { expect, test } from "vitest";
import { strongestChecksum } from "../src/imports/drs/checksums.ts";
import { parseDrsUri } from "../src/imports/drs/drs-uri.ts";
import { DrsClient } from "../src/index.ts";
import { type LoopbackServer, md5, serve, serveBytes, sha256 } from "./imports.servers.ts";

const code = (expected: string, text = "") => expect.objectContaining({ code: expected, message: expect.stringContaining(text) });

type Route = (request: IncomingMessage, response: ServerResponse) => void;

/** A hand-written DRS server: answers by raw path, as requests have it. Objects lie below the standard's path. */
async function drsServer(routes: Record<string, Route>): Promise<LoopbackServer> {
  return serve((request, response) => {
    const path = (request.url ?? "").replace("/ga4gh/drs/v1/objects/", "");
    const route = routes[path];
    if (route) route(request, response);
    else
      response
        .writeHead(404, { "content-type": "application/json" })
        .end(JSON.stringify({ msg: "no such\nobject", status_code: 404 }));
  });
}

const json =
  (value: unknown): Route =>
  (_request, response) =>
    void response.setHeader("content-type", "application/json").end(JSON.stringify(value));

const bytes = randomBytes(50_000);
const object = (extra: object) => ({
  id: "x",
  self_uri: "drs://example/x",
  size: bytes.length,
  created_time: "2026-01-01T00:00:00Z",
  checksums: [{ type: "sha-256", checksum: sha256(bytes) }],
  ...extra,
});
const at = (server: LoopbackServer, id = "x") => `drs://${server.authority}/${id}`;

/** A server whose object `x` has these access methods; `URL` in them stands for the server's own address. */
async function withMethods(methods: unknown, extra: object = {}, routes: Record<string, Route> = {}) {
  const server: LoopbackServer = await drsServer({
    x: (request, response) => {
      const text = JSON.stringify(object({ access_methods: methods, ...extra })).replaceAll(
        "URL",
        `http://${request.headers.host}`,
      );
      response.end(text);
    },
    "/bytes": serveBytes(bytes),
    "/lies": serveBytes(randomBytes(bytes.length)),
    "/short": serveBytes(bytes.subarray(1)),
    ...routes,
  });
  const client = new DrsClient({ trusted: [server.authority] });
  return { server, client, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

const https = (path: string, extra: object = {}) => ({ type: "https", access_url: { url: `URL${path}` }, ...extra });

test("an object is resolved, and read in whole and in part", async () => {
  await using drs = await withMethods([https("/bytes")], { name: "a b.bam", mime_type: "application/x-bam" });
  const resolved = await drs.client.resolve(at(drs.server));
  expect(resolved.object).toMatchObject({
    id: "x",
    name: "a b.bam",
    mimeType: "application/x-bam",
    size: bytes.length,
    isBundle: false,
  });
  expect(resolved.checksum).toEqual({ algorithm: "sha256", digest: sha256(bytes) });
  expect(await buffer(await resolved.open())).toEqual(bytes);
  expect(await buffer(await resolved.open({ start: 100, end: 199 }))).toEqual(bytes.subarray(100, 200));
});

test.each([
  ["a bare string as access_url", [{ type: "https", access_url: "URL/bytes" }]],
  ["an access_id", [{ type: "https", access_id: "one" }]],
  ["an access_id answered with a bare string", [{ type: "https", access_id: "two" }]],
  ["an access_id that has to be encoded", [{ type: "https", access_id: "a/b?c" }]],
  [
    "https forms of other types, after what is none",
    [
      { type: "s3", access_url: { url: "s3://bucket/key" } },
      { type: "gs", access_url: { url: "URL/bytes" } },
    ],
  ],
  ["an s3 address and an access_id in one method", [{ type: "s3", access_url: { url: "s3://bucket/key" }, access_id: "one" }]],
  ["a method that fails before one that does not", [https("/none"), https("/short"), https("/bytes")]],
  ["methods that make no sense", [null, 1, "x", {}, { type: "https" }, { type: "https", access_url: 5 }, https("/bytes")]],
])("%s", async (_title, methods) => {
  const self: Route = (request, response) => json({ url: `http://${request.headers.host}/bytes` })(request, response);
  await using drs = await withMethods(
    methods,
    {},
    {
      "x/access/one": self,
      "x/access/two": (request, response) => json(`http://${request.headers.host}/bytes`)(request, response),
      "x/access/a%2Fb%3Fc": self,
    },
  );
  const resolved = await drs.client.resolve(at(drs.server));
  expect(await buffer(await resolved.open())).toEqual(bytes);
});

test("methods are tried in the server's order", async () => {
  await using drs = await withMethods([https("/none"), https("/short"), https("/bytes"), https("/lies")]);
  await buffer(await (await drs.client.resolve(at(drs.server))).open());
  expect(drs.server.requests.map(({ url }) => url).slice(-3)).toEqual(["/none", "/short", "/bytes"]);
});

test("bytes, sizes and checksums that lie end the read", async () => {
  const read = async (path: string, extra: object = {}) => {
    await using drs = await withMethods([https(path)], extra);
    return buffer(await (await drs.client.resolve(at(drs.server))).open());
  };
  await expect(read("/lies")).rejects.toEqual(code("CHECKSUM_MISMATCH", "sha256"));
  await expect(read("/short")).rejects.toEqual(code("CHECKSUM_MISMATCH", "49999 bytes"));
  await expect(read("/bytes", { size: 10 })).rejects.toEqual(code("CHECKSUM_MISMATCH"));
  await expect(read("/bytes", { checksums: [{ type: "sha-256", checksum: sha256("other") }] })).rejects.toEqual(
    code("CHECKSUM_MISMATCH"),
  );
  await expect(read("/bytes", { checksums: [{ type: "md5", checksum: md5("other") }] })).rejects.toEqual(
    code("CHECKSUM_MISMATCH", "md5"),
  );
  await expect(read("/bytes", { checksums: [{ type: "sha-256", checksum: "none" }] })).rejects.toEqual(code("CHECKSUM_MISMATCH"));
  expect(await read("/bytes", { checksums: [{ type: "md5", checksum: md5(bytes).toUpperCase() }] })).toEqual(bytes);
  expect(await read("/bytes", { checksums: [{ type: "crc32c", checksum: "AAAAAA==" }] })).toEqual(bytes);
});

test("an endless body ends at the promised size", async () => {
  await using drs = await withMethods(
    [https("/endless")],
    {},
    {
      "/endless": (_request, response) => {
        const timer = setInterval(() => response.write(Buffer.alloc(20_000)), 5);
        response.once("close", () => clearInterval(timer));
      },
    },
  );
  const resolved = await drs.client.resolve(at(drs.server));
  await expect(resolved.open().then(buffer)).rejects.toEqual(code("CHECKSUM_MISMATCH", "More than"));
});

test("ids are percent-encoded once, however they were written", async () => {
  const seen: string[] = [];
  await using server = await serve((request, response) => {
    seen.push(request.url ?? "");
    response.end(JSON.stringify(object({ access_methods: [] })));
  });
  const client = new DrsClient({ trusted: [server.authority] });
  for (const id of ["a%2Fb", "a/b", "a:b", "a%20b", "100%25", "%F0%9F%A7%AC", "..%2F..%2Fadmin"])
    await client.resolve(at(server, id));
  expect(seen.map((url) => url.replace("/ga4gh/drs/v1/objects/", ""))).toEqual([
    "a%2Fb",
    "a%2Fb",
    "a%3Ab",
    "a%20b",
    "100%25",
    "%F0%9F%A7%AC",
    "..%2F..%2Fadmin",
  ]);
});

test.each([
  "drs://",
  "drs://host",
  "drs://host/",
  "drs:///id",
  "drs://host/..",
  "drs://host/%2e%2e",
  "drs://host/a?b",
  "drs://host/%ff",
  "drs://host/a%00b",
  "drs://host/\ud800",
  "drs://user@host/a",
  "drs://host:0/a",
  "drs://2130706433/a",
  "http://host/a",
  `drs://host/${"a".repeat(9000)}`,
])("no DRS URI: %s", (uri) => {
  expect(() => parseDrsUri(uri)).toThrow(code("BAD_REQUEST"));
});

test("compact identifiers are told what they are", () => {
  for (const uri of ["drs://dg.4503:abc-def", "drs://dg.4503:abc/def", "drs://prefix:12a"])
    expect(() => parseDrsUri(uri)).toThrow(code("BAD_REQUEST", "Compact identifiers"));
  expect(parseDrsUri("drs://Example.ORG/a%2Fb")).toEqual({ host: "example.org", port: 443, authority: "example.org", id: "a/b" });
  expect(parseDrsUri("drs://[::1]:8080/x")).toMatchObject({ host: "::1", port: 8080, authority: "[::1]:8080" });
});

test("an object that is being prepared is waited for", async () => {
  let asked = 0;
  await using drs = await withMethods(
    [{ type: "https", access_id: "slow" }],
    {},
    {
      "x/access/slow": (request, response) => {
        if (asked++ === 0) return void response.writeHead(202, { "retry-after": "1" }).end();
        json({ url: `http://${request.headers.host}/bytes` })(request, response);
      },
    },
  );
  const resolved = await drs.client.resolve(at(drs.server));
  const before = performance.now();
  expect(await buffer(await resolved.open())).toEqual(bytes);
  expect(performance.now() - before).toBeGreaterThan(950);
  expect(asked).toBe(2);

  await using never = await drsServer({
    x: (_request, response) => response.writeHead(202, { "retry-after": "999999999" }).end(),
  });
  const abort = AbortSignal.timeout(200);
  await expect(new DrsClient({ trusted: [never.authority] }).resolve(at(never), abort)).rejects.toThrow();
  expect(never.requests).toHaveLength(1);
});

test("headers of an access URL go there and nowhere else, and not those that are ours", async () => {
  await using elsewhere = await serve(serveBytes(bytes));
  const headers = [
    "Authorization: Bearer secret",
    "X-Extra:1",
    "Host: evil",
    "Range: bytes=0-1",
    "Transfer-Encoding: chunked",
    "bad",
    "a: b\r\nc: d",
  ];
  await using drs = await withMethods(
    [{ type: "https", access_url: { url: "URL/hop", headers } }],
    {},
    {
      "/hop": (_request, response) => response.writeHead(302, { location: elsewhere.url("/") }).end(),
    },
  );
  const client = new DrsClient({ trusted: [drs.server.authority, elsewhere.authority] });
  expect(await buffer(await (await client.resolve(at(drs.server))).open())).toEqual(bytes);
  expect(drs.server.requests[0]?.headers.authorization).toBeUndefined();
  expect(drs.server.requests.at(-1)?.headers).toMatchObject({
    authorization: "Bearer secret",
    "x-extra": "1",
    host: drs.server.authority,
  });
  expect(drs.server.requests.at(-1)?.headers).not.toHaveProperty("range");
  expect(elsewhere.requests[0]?.headers).not.toHaveProperty("authorization");
  expect(elsewhere.requests[0]?.headers).not.toHaveProperty("x-extra");
});

test("what a DRS server names is judged like any address", async () => {
  for (const url of [
    "http://169.254.169.254/latest/meta-data/",
    "http://127.0.0.1/",
    "http://[::ffff:10.0.0.1]/",
    "http://u:p@URL/",
  ]) {
    await using drs = await withMethods([{ type: "https", access_url: { url } }]);
    await expect(drs.client.resolve(at(drs.server)).then((resolved) => resolved.open())).rejects.toEqual(code("IMPORT_FAILED"));
  }
  for (const uri of ["drs://127.0.0.1/x", "drs://169.254.169.254/x", "drs://10.0.0.1/x", "drs://[::1]/x"])
    await expect(new DrsClient({ trusted: [] }).resolve(uri)).rejects.toEqual(code("IMPORT_FAILED", "may not be reached"));
});

test("plain http is spoken with trusted servers only", async () => {
  await using drs = await withMethods([https("/bytes")]);
  await expect(new DrsClient({ trusted: [] }).resolve(at(drs.server))).rejects.toEqual(
    code("IMPORT_FAILED", "may not be reached"),
  );
  expect(drs.server.requests).toEqual([]);
});

test("bundles, objects without usable methods, and answers that are none are told", async () => {
  await using server = await drsServer({
    bundle: json(object({ contents: [{ name: "a", id: "a" }] })),
    ftp: json(object({ access_methods: [{ type: "ftp", access_url: { url: "ftp://host/x" } }] })),
    list: json([1]),
    text: (_request, response) => response.end("<html>"),
    huge: (_request, response) => response.end(Buffer.alloc(9 * 1024 * 1024, " ")),
    deep: (_request, response) => response.end(`${"[".repeat(100_000)}${"]".repeat(100_000)}`),
  });
  const client = new DrsClient({ trusted: [server.authority] });
  const bundle = await client.resolve(at(server, "bundle"));
  expect(bundle.object.isBundle).toBe(true);
  await expect(bundle.open()).rejects.toEqual(code("BAD_REQUEST", "bundle"));
  await expect((await client.resolve(at(server, "ftp"))).open()).rejects.toEqual(code("IMPORT_FAILED", "ftp"));
  await expect(client.resolve(at(server, "list"))).rejects.toEqual(code("IMPORT_FAILED", "not answer with an object"));
  await expect(client.resolve(at(server, "text"))).rejects.toEqual(code("IMPORT_FAILED", "JSON"));
  await expect(client.resolve(at(server, "huge"))).rejects.toEqual(code("IMPORT_FAILED", "more than"));
  await expect(client.resolve(at(server, "deep"))).rejects.toEqual(code("IMPORT_FAILED"));
  await expect(client.resolve(at(server, "none"))).rejects.toEqual(code("IMPORT_FAILED", "status 404: no such object."));
});

test("the strongest checksum that can be verified is held to", () => {
  const digest = { sha: "a".repeat(64), md: "b".repeat(32), one: "c".repeat(40), big: "d".repeat(128) };
  const of = (...pairs: [string, string][]) => strongestChecksum(pairs.map(([type, checksum]) => ({ type, checksum })));
  expect(of(["md5", digest.md], ["sha256", digest.sha])).toEqual({ algorithm: "sha256", digest: digest.sha });
  expect(of(["sha1", digest.one], ["sha-512", digest.big])).toEqual({ algorithm: "sha512", digest: digest.big });
  expect(of(["etag", "x"], ["trunc512", "y"])).toBeNull();
  expect(() => of(["sha-256", digest.sha], ["sha256", "e".repeat(64)])).toThrow(code("CHECKSUM_MISMATCH"));
});
