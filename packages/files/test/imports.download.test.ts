import { randomBytes } from "node:crypto";
import { networkInterfaces } from "node:os";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { DownloadError } from "../src/imports/download-error.ts";
import { HttpDownloads } from "../src/imports/http-downloads.ts";
import { serve, serveBytes, serveRaw } from "./imports.servers.ts";

const SHORT = { connectMs: 500, firstByteMs: 300, idleMs: 300, retryMs: 10 };
const failed = (failure: string, text = "") =>
  expect.objectContaining({ code: "IMPORT_FAILED", failure, message: expect.stringContaining(text) });

/** Everything of an address, by downloads with short times. */
async function bytesOf(
  trusted: readonly string[],
  url: string,
  options: Parameters<HttpDownloads["open"]>[1] = {},
): Promise<Buffer> {
  return buffer((await new HttpDownloads(trusted, { times: SHORT }).open(new URL(url), options)).body);
}

test("bytes come with their size, name and type", async () => {
  const bytes = randomBytes(300_000);
  await using server = await serve((request, response) => {
    response.setHeader(
      "content-disposition",
      "attachment; filename=plain.csv; filename*=UTF-8''na%C3%AFve%2Fr%C3%A9sum%C3%A9.csv",
    );
    response.setHeader("content-type", "text/CSV; charset=utf-8");
    serveBytes(bytes)(request, response);
  });
  const download = await new HttpDownloads([server.authority]).open(new URL(server.url("/x")));
  expect(download).toMatchObject({ size: bytes.length, fileName: "résumé.csv", mimeType: "text/csv" });
  expect(await buffer(download.body)).toEqual(bytes);
  expect(server.requests[0]?.headers["accept-encoding"]).toBe("identity");
});

test.each([
  "http://127.0.0.1/",
  "http://127.0.0.1:8080/",
  "http://2130706433/",
  "http://0x7f.1/",
  "http://0177.0.0.1/",
  "http://127.1/",
  "http://[::1]/",
  "http://[::ffff:127.0.0.1]/",
  "http://[::ffff:a9fe:a9fe]/",
  "http://[64:ff9b::a9fe:a9fe]/",
  "http://169.254.169.254/latest/meta-data/",
  "http://168.63.129.16/",
  "http://100.100.100.200/",
  "http://10.0.0.1/",
  "http://192.168.0.1/",
  "http://0.0.0.0/",
  "https://1.1.1.1:8443/",
  "http://①②⑦.0.0.1/",
])("not reached: %s", async (url) => {
  await expect(bytesOf([], url)).rejects.toEqual(failed("denied", "may not be reached"));
});

test("the host's own addresses are not reached either", async () => {
  for (const { address, family } of Object.values(networkInterfaces()).flatMap((list) => list ?? [])) {
    const host = family === "IPv6" ? `[${address.replace(/%.*/, "")}]` : address;
    await expect(bytesOf([], `http://${host}/`)).rejects.toEqual(failed("denied"));
  }
});

test("trust is of host and port together", async () => {
  await using server = await serve(serveBytes(Buffer.from("secret")));
  await using other = await serve(serveBytes(Buffer.from("open")));
  await expect(bytesOf([other.authority], server.url("/"))).rejects.toEqual(failed("denied"));
  const port = server.authority.split(":")[1];
  await expect(bytesOf([server.authority], `http://localhost:${port}/`)).rejects.toEqual(failed("denied"));
  expect(server.requests).toEqual([]);
});

test("redirects are followed, each judged anew", async () => {
  await using target = await serve(serveBytes(Buffer.from("there")));
  await using server = await serve((request, response) => {
    const location = new URL(request.url ?? "", "http://x").searchParams.get("to") ?? "/";
    response.writeHead(302, { location }).end();
  });
  const to = (url: string) => server.url(`/?to=${encodeURIComponent(url)}`);
  const trusted = [server.authority, target.authority];
  expect((await bytesOf(trusted, to(target.url("/")))).toString()).toBe("there");
  for (const url of [
    "http://169.254.169.254/latest/meta-data/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "file:///etc/passwd",
    `http://user:pass@${target.authority}/`,
  ])
    await expect(bytesOf(trusted, to(url))).rejects.toEqual(failed("denied"));
  await expect(bytesOf([server.authority], to(target.url("/")))).rejects.toEqual(failed("denied"));
  expect(target.requests).toHaveLength(1);
  await expect(bytesOf(trusted, server.url("/?to=/%3fto=/"))).rejects.toEqual(failed("unexpected", "more than 5"));
  await expect(bytesOf(trusted, to("http://["))).rejects.toEqual(failed("unexpected", "no address"));
});

test("headers stay with the origin they were meant for", async () => {
  await using target = await serve(serveBytes(Buffer.from("there")));
  await using server = await serve((request, response) => {
    response.writeHead(307, { location: request.url === "/1" ? "/2" : target.url("/") }).end();
  });
  await bytesOf([server.authority, target.authority], server.url("/1"), { headers: { authorization: "Bearer secret" } });
  expect(server.requests.map(({ headers }) => headers.authorization)).toEqual(["Bearer secret", "Bearer secret"]);
  expect(target.requests.map(({ headers }) => headers.authorization)).toEqual([undefined]);
});

test("a name is looked up once for each connection, and the connection goes to what was checked", async () => {
  await using server = await serve((request, response) => {
    if (request.url === "/again") response.writeHead(302, { location: "/" }).end();
    else response.end(request.headers.host);
  });
  const port = server.authority.split(":")[1];
  let lookups = 0;
  const rebinding = (answers: string[][]) =>
    new HttpDownloads([`rebind.test:${port}`], {
      times: SHORT,
      lookup: async () => answers[Math.min(lookups++, answers.length - 1)] ?? [],
    });
  const first = rebinding([["127.0.0.1"], ["192.0.2.1"]]);
  expect((await buffer((await first.open(new URL(`http://rebind.test:${port}/`))).body)).toString()).toBe(`rebind.test:${port}`);
  expect(lookups).toBe(1);

  // A public name, by which the second answer is what counts for the second connection.
  for (const answers of [[["127.0.0.1"]], [["8.8.8.8", "127.0.0.1"]], [["::ffff:127.0.0.1"]], [["169.254.169.254"]]]) {
    lookups = 0;
    await expect(rebinding(answers).open(new URL("http://evil.example/"))).rejects.toEqual(failed("denied"));
    expect(lookups).toBe(1);
  }
  lookups = 0;
  await expect(rebinding([[]]).open(new URL("http://gone.example/"))).rejects.toEqual(failed("unreachable", "no address"));
});

test("a broken connection is gone on with, exactly where it broke", async () => {
  const bytes = randomBytes(400_000);
  await using server = await serve(serveBytes(bytes, { breaks: 4, breakAfter: 70_001 }));
  expect(await bytesOf([server.authority], server.url("/"))).toEqual(bytes);
  expect(server.requests.map(({ headers }) => headers.range)).toEqual([
    undefined,
    "bytes=70001-",
    "bytes=140002-",
    "bytes=210003-",
    "bytes=280004-",
  ]);
  expect(server.requests[1]?.headers["if-range"]).toMatch(/^"[0-9a-f]{16}"$/);
});

test("a server without ranges that sends the same bytes again is gone on with, one that has other bytes is not", async () => {
  const bytes = randomBytes(200_000);
  await using same = await serve(serveBytes(bytes, { breaks: 2, ranges: false }));
  expect(await bytesOf([same.authority], same.url("/"))).toEqual(bytes);

  let version = 0;
  await using other = await serve((request, response) =>
    serveBytes(randomBytes(200_000), { breaks: 1 - version++ })(request, response),
  );
  await expect(bytesOf([other.authority], other.url("/"))).rejects.toEqual(failed("changed"));
});

test("without a strong validator a break is an error, and so are too many breaks", async () => {
  await using weak = await serve((_request, response) => {
    response.writeHead(200, { etag: 'W/"1"', "content-length": 1000 });
    response.write(Buffer.alloc(10), () => response.destroy());
  });
  await expect(bytesOf([weak.authority], weak.url("/"))).rejects.toEqual(failed("broken"));
  expect(weak.requests).toHaveLength(1);
  await using shaky = await serve(serveBytes(randomBytes(100_000), { breaks: 1000, breakAfter: 10 }));
  await expect(bytesOf([shaky.authority], shaky.url("/"))).rejects.toEqual(failed("broken"));
  expect(shaky.requests).toHaveLength(6);
});

test("answers that go on with another part are refused", async () => {
  for (const range of ["bytes 0-99/200", "bytes 50-199/300", "bytes 50-20/200", "octets 50-199/200", "bytes 50-199/200, 1"]) {
    let asked = 0;
    await using server = await serve((_request, response) => {
      if (asked++ > 0) return void response.writeHead(206, { etag: '"1"', "content-range": range }).end(Buffer.alloc(150));
      response.writeHead(200, { etag: '"1"', "content-length": 200 });
      response.write(Buffer.alloc(50), () => setTimeout(() => response.destroy(), 20));
    });
    await expect(bytesOf([server.authority], server.url("/"))).rejects.toBeInstanceOf(DownloadError);
    expect(asked).toBe(2);
  }
});

test("servers that do not answer, stall, drip or babble are left", async () => {
  await using silent = await serveRaw(() => {});
  await expect(bytesOf([silent.authority], silent.url("/"))).rejects.toEqual(failed("unreachable", "does not answer in time"));

  await using slowHeader = await serveRaw((socket) => {
    socket.write("HTTP/1.1 200 OK\r\n");
    const timer = setInterval(() => socket.write("x: y\r\n"), 50);
    socket.once("close", () => clearInterval(timer));
  });
  await expect(bytesOf([slowHeader.authority], slowHeader.url("/"))).rejects.toEqual(
    failed("unreachable", "does not answer in time"),
  );

  await using stalled = await serve(
    (_request, response) => void response.writeHead(200, { "content-length": 100 }).write("begun"),
  );
  await expect(bytesOf([stalled.authority], stalled.url("/"))).rejects.toEqual(failed("stalled"));

  await using dripping = await serve((_request, response) => {
    response.writeHead(200, { "content-length": 100_000 });
    const timer = setInterval(() => response.write("."), 40);
    response.once("close", () => clearInterval(timer));
  });
  await expect(bytesOf([dripping.authority], dripping.url("/"))).rejects.toEqual(failed("stalled"));

  await using babbling = await serveRaw((socket) => socket.end("SSH-2.0-OpenSSH_9.2\r\n"));
  await expect(bytesOf([babbling.authority], babbling.url("/"))).rejects.toEqual(failed("unexpected"));

  await using heads = await serveRaw((socket) => socket.end(`HTTP/1.1 200 OK\r\nx: ${"y".repeat(20_000)}\r\n\r\n`));
  await expect(bytesOf([heads.authority], heads.url("/"))).rejects.toEqual(failed("unexpected", "header of more than"));

  await using upgrading = await serveRaw((socket) =>
    socket.write("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
  );
  await expect(bytesOf([upgrading.authority], upgrading.url("/"))).rejects.toBeInstanceOf(DownloadError);

  const gone = await (async () => {
    await using closed = await serve(() => {});
    return closed;
  })();
  await expect(bytesOf([gone.authority], gone.url("/"))).rejects.toEqual(failed("unreachable", "ECONNREFUSED"));
});

test("a reader that takes its time is not taken for a server that stalls", async () => {
  const bytes = randomBytes(3_000_000);
  await using server = await serve(serveBytes(bytes));
  const download = await new HttpDownloads([server.authority], { times: SHORT }).open(new URL(server.url("/")));
  let received = 0;
  for await (const chunk of download.body) {
    if (received === 0) await new Promise((resolve) => setTimeout(resolve, 700));
    received += chunk.length;
  }
  expect(received).toBe(bytes.length);
});

test("lengths that lie, statuses and encodings are told", async () => {
  await using short = await serveRaw((socket) => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nfew"));
  await expect(bytesOf([short.authority], short.url("/"))).rejects.toEqual(failed("broken"));
  await using both = await serveRaw((socket) =>
    socket.end("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
  );
  await expect(bytesOf([both.authority], both.url("/"))).rejects.toBeInstanceOf(DownloadError);
  await using missing = await serve((_request, response) => response.writeHead(404).end("no"));
  await expect(bytesOf([missing.authority], missing.url("/x?token=secret"))).rejects.toEqual(
    failed("status", "/x answers with status 404."),
  );
  await using unasked = await serve((_request, response) =>
    response.writeHead(206, { "content-range": "bytes 0-1/9" }).end("ab"),
  );
  await expect(bytesOf([unasked.authority], unasked.url("/"))).rejects.toEqual(failed("unexpected"));
  const zipped = gzipSync("text");
  await using encoding = await serve((_request, response) => response.writeHead(200, { "content-encoding": "gzip" }).end(zipped));
  await expect(bytesOf([encoding.authority], encoding.url("/x.txt"))).rejects.toEqual(failed("unexpected", "compressed"));
  // As Apache sends archives.
  expect(await bytesOf([encoding.authority], encoding.url("/x.tar.gz"))).toEqual(zipped);
});

test("parts are had from servers with ranges and from those without", async () => {
  const bytes = randomBytes(100_000);
  for (const ranges of [true, false]) {
    await using server = await serve(serveBytes(bytes, { ranges, breaks: 1 }));
    const part = await bytesOf([server.authority], server.url("/"), { range: { start: 1_000, end: 90_999 } });
    expect(part).toEqual(bytes.subarray(1_000, 91_000));
  }
});

test("an end by the caller ends the connection, also when nothing was read", async () => {
  const closed = Promise.withResolvers<void>();
  await using server = await serve((_request, response) => {
    response.once("close", closed.resolve);
    response.writeHead(200).write("begun");
  });
  (await new HttpDownloads([server.authority]).open(new URL(server.url("/")))).body.destroy();
  await closed.promise;

  const abort = new AbortController();
  const reason = new Error("enough");
  const download = await new HttpDownloads([server.authority]).open(new URL(server.url("/")), { signal: abort.signal });
  setTimeout(() => abort.abort(reason), 50);
  await expect(buffer(download.body)).rejects.toBe(reason);
  await expect(new HttpDownloads([server.authority]).open(new URL(server.url("/")), { signal: abort.signal })).rejects.toBe(
    reason,
  );
});
