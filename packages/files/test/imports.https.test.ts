import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { HttpDownloads } from "../src/imports/http-downloads.ts";
import { DrsClient } from "../src/index.ts";
import { serve, serveBytes, sha256 } from "./imports.servers.ts";

const failed = (failure: string, text: string) =>
  expect.objectContaining({ code: "IMPORT_FAILED", failure, message: expect.stringContaining(text) });

/** A server over TLS on 127.0.0.1 with a certificate of its own making. */
async function serveSecurely(handler: (request: IncomingMessage, response: ServerResponse) => void) {
  const directory = await mkdtemp(join(tmpdir(), "treadle-tls-"));
  const [key, cert] = [join(directory, "key"), join(directory, "cert")];
  const subject = ["-subj", "/CN=treadle-test", "-addext", "subjectAltName=IP:127.0.0.1"];
  await promisify(execFile)("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
    ...["-keyout", key, "-out", cert, ...subject],
  ]);
  const pair = { key: await readFile(key), cert: await readFile(cert, "utf8") };
  await rm(directory, { recursive: true });
  const server = createServer(pair, handler).listen(0, "127.0.0.1");
  await once(server, "listening");
  const authority = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    authority,
    cert: pair.cert,
    url: (path: string) => new URL(`https://${authority}${path}`),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

test("https is spoken with servers whose certificate holds, and never left for http", async (context) => {
  const missing = await promisify(execFile)("openssl", ["version"]).then(() => null, String);
  if (missing !== null) context.skip(`there is no openssl to make a certificate with: ${missing}`);
  const bytes = randomBytes(50_000);
  await using plain = await serve(serveBytes(bytes));
  await using secure = await serveSecurely((request, response) => {
    if (request.url === "/down") response.writeHead(302, { location: plain.url("/") }).end();
    else if (request.url === "/around") response.writeHead(302, { location: "/bytes" }).end();
    else if (request.url?.startsWith("/ga4gh/")) {
      const isLeaking = request.url.endsWith("leaking");
      const url = isLeaking ? plain.url("/") : `https://${request.headers.host}/bytes`;
      const methods = [{ type: "https", access_url: { url, headers: ["Authorization: Bearer secret"] } }];
      response.end(
        JSON.stringify({
          size: bytes.length,
          checksums: [{ type: "sha-256", checksum: sha256(bytes) }],
          access_methods: methods,
        }),
      );
    } else serveBytes(bytes, { breaks: 0 })(request, response);
  });
  const trusted = [secure.authority, plain.authority];
  const downloads = new HttpDownloads(trusted);
  const drs = new DrsClient({ trusted });
  await expect(downloads.open(secure.url("/bytes"))).rejects.toEqual(failed("unexpected", "cannot be trusted"));
  // Not a reason to fall back to http either.
  await expect(drs.resolve(`drs://${secure.authority}/x`)).rejects.toEqual(failed("unexpected", "cannot be trusted"));

  const before = getCACertificates("default");
  setDefaultCACertificates([...before, secure.cert]);
  try {
    expect(await buffer((await downloads.open(secure.url("/bytes"))).body)).toEqual(bytes);
    expect(await buffer((await downloads.open(secure.url("/around"))).body)).toEqual(bytes);
    await expect(downloads.open(secure.url("/down"))).rejects.toEqual(failed("denied", "from https to http"));
    expect(await buffer(await (await drs.resolve(`drs://${secure.authority}/x`)).open())).toEqual(bytes);
    const leaking = await drs.resolve(`drs://${secure.authority}/leaking`);
    await expect(leaking.open()).rejects.toEqual(failed("denied", "without encryption"));
    expect(plain.requests).toEqual([]);
  } finally {
    setDefaultCACertificates(before);
  }
});
