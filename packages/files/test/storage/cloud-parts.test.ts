import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { attachment } from "../../src/storage/cloud/attachment.ts";
import { cloudFailures } from "../../src/storage/cloud/cloud-failure.ts";
import { readCloudUrl } from "../../src/storage/cloud/cloud-url.ts";
import { planParts } from "../../src/storage/cloud/part-plan.ts";
import { receivedBody } from "../../src/storage/cloud/received-body.ts";
import { limitStall } from "../../src/storage/cloud/time-limits.ts";
import { openStorage } from "../../src/storage/open-storage.ts";

const MIB = 1024 * 1024;

test.each([1, 17 * MIB, 80_000 * MIB, 80_000 * MIB + 1, 5e12])("parts of %d bytes are all of it, at most 10,000", (size) => {
  const parts = planParts(size);
  expect(parts.length).toBeLessThanOrEqual(10_000);
  expect(parts.every((part, index) => part.number === index + 1 && part.length > 0)).toBe(true);
  expect(parts.reduce((end, { start, length }) => (start === end ? end + length : Number.NaN), 0)).toBe(size);
  expect(parts.slice(0, -1).every(({ length }) => length >= 8 * MIB && length <= 5120 * MIB)).toBe(true);
});

test.each([
  ["plain.csv", 'attachment; filename="plain.csv"'],
  ["zwei Wörter.txt", `attachment; filename="zwei W_rter.txt"; filename*=UTF-8''zwei%20W%C3%B6rter.txt`],
  ['a"; filename=evil.html', `attachment; filename="a__ filename=evil.html"; filename*=UTF-8''a%22%3B%20filename%3Devil.html`],
  ["a\r\nSet-Cookie: x=1", 'attachment; filename="a__Set-Cookie: x=1"'],
  ["../../etc/passwd", 'attachment; filename=".._.._etc_passwd"'],
  ["it's (1)*.txt", `attachment; filename="it's (1)*.txt"`],
  ["100%.txt", `attachment; filename="100_.txt"; filename*=UTF-8''100%25.txt`],
  ["\ud800.txt", `attachment; filename="_.txt"; filename*=UTF-8''%EF%BF%BD.txt`],
])("a name %j becomes a safe header", (name, header) => {
  expect(attachment(name)).toBe(header);
});

test.each([
  ["s3://key:secret@bucket", /credentials do not belong/],
  ["s3://bucket?secret-key=hush", /does not take `secret-key`/],
  ["s3://bucket?region=a&region=b", /given twice/],
  ["s3://bucket?region=", /is empty/],
  ["s3://bucket?endpoint=ftp://x", /http:\/\/ or https:\/\//],
  ["s3://bucket?endpoint=http://u:secret@x", /must not have credentials/],
  ["s3://bucket?endpoint=http://x&path-style=maybe", /yes or no/],
  ["s3://bucket?endpoint=http://x&region=eu_1%0d%0a", /no name of a region/],
  ["s3://", /the name of a bucket/],
  ["s3://bucket/a/%2e%2e%2fb", /a prefix is made of/],
  ["s3://bucket/a//b", /a prefix is made of/],
  ["s3://bucket/a b", /a prefix is made of/],
  ["s3://bucket#x", /fragment/],
  ["azblob://container", /No credentials for Azure/],
  ["gs://bucket?region=x", /does not take `region`; it takes endpoint, presign/],
])("the URL %s is INVALID_SETTING", async (storageUrl, message) => {
  const error = await openStorage({ storageUrl, dataDirectory: "/nonexistent", environment: {}, warn: () => undefined }).then(
    () => "opened",
    (failure) => failure,
  );
  expect(error).toMatchObject({ code: "INVALID_SETTING", message: expect.stringMatching(message) });
  expect(error.message).not.toMatch(/hush|:secret@/);
});

test("a URL's parts are read", () => {
  const url = new URL("s3://my.bucket/a/b/?endpoint=https://s3.example:9000/&region=eu");
  expect(readCloudUrl(url, ["endpoint", "region"])).toMatchObject({
    bucket: "my.bucket",
    prefix: "a/b",
    words: { region: "eu" },
  });
});

test("a service's words are told in one line, without secrets and signatures", () => {
  const { failure } = cloudFailures("The bucket", ["hush"]);
  const said = (message: string) => (failure("doing", new Error(message)) as Error).message;
  expect(said("key hush is wrong\nat place")).toBe("The bucket failed doing: key … is wrong");
  expect(said("GET http://h/x?X-Amz-Signature=abc&sig=d%2Fe failed")).not.toMatch(/abc|d%2Fe/);
  expect(said("Authorization: Bearer ya29.token")).not.toContain("ya29");
  expect(said("<Error><Code>AccessDenied</Code><Message>No entry</Message></Error>")).toBe("The bucket failed doing: No entry");
});

/** A body of an answer of a server that behaves as told. */
async function answered(answer: (request: IncomingMessage, response: ServerResponse) => void) {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const response = await fetch(`http://127.0.0.1:${port}/`);
  return {
    source: Readable.fromWeb(response.body as never),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

const failure = (error: unknown) => new Error(`told: ${(error as Error).message}`);

test("a body that is too short or too long, or breaks off, is an error", async () => {
  await using short = await answered((_, response) => response.end("12345"));
  await expect(buffer(receivedBody(short.source, 6, { failure }))).rejects.toThrow("told: it sent 5 of 6 bytes");
  await using long = await answered((_, response) => response.end("1234567"));
  await expect(buffer(receivedBody(long.source, 6, { failure }))).rejects.toThrow("more than the 6 bytes");
  await using broken = await answered((_, response) => {
    response.writeHead(200, { "content-length": 6 }).write("123");
    setTimeout(() => response.destroy(), 50);
  });
  await expect(buffer(receivedBody(broken.source, 6, { failure }))).rejects.toThrow(/^told: /);
});

test("a body that stands still is an error; a reader that pauses is not", async () => {
  await using still = await answered((_, response) => void response.writeHead(200, { "content-length": 6 }).write("123"));
  await expect(buffer(receivedBody(still.source, 6, { failure, stallMs: 300 }))).rejects.toThrow("no byte came for 0.3 s");
  const size = 8 * MIB;
  await using whole = await answered((_, response) => response.end(Buffer.alloc(size)));
  const body = receivedBody(whole.source, size, { failure, stallMs: 300 });
  await sleep(1_000);
  expect((await buffer(body)).length).toBe(size);
});

test("a stream that nobody reads from any more ends the work it belongs to", async () => {
  using stall = limitStall(undefined, 200);
  const stream = stall.watch(new Readable({ read() {} }));
  stream.read();
  const begun = performance.now();
  await once(stall.signal, "abort");
  expect(performance.now() - begun).toBeGreaterThan(150);
  expect(String(stall.signal.reason)).toContain("no byte got through");
});
