import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { CreateMultipartUploadCommand, ListMultipartUploadsCommand, type S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, type TestContext, test } from "vitest";
import { openStorage } from "../../src/storage/open-storage.ts";
import type { StorageDriver } from "../../src/storage/storage-driver.ts";
import { s3Client } from "../servers/s3-servers.ts";
import { PLACES, type Place, type Unseen } from "./places.ts";
import { type StagedFiles, stagedFiles } from "./staged-files.ts";

const MIB = 1024 * 1024;
const INSTALL_MS = 300_000;
const ONE = "0".repeat(64);

describe.each(Object.keys(PLACES))("storage: %s", (name) => {
  const prefix = `treadle-test/${randomUUID()}`;
  const warnings: string[] = [];
  let place: Place | undefined;
  let why = "";
  let driver: StorageDriver;
  let files: StagedFiles;

  beforeAll(async () => {
    files = await stagedFiles();
    try {
      place = await PLACES[name]?.();
    } catch (error) {
      why = `no server for ${name} can be had here: ${String(error).split("\n")[0]}`;
      return;
    }
    driver = await open();
  }, INSTALL_MS);

  afterAll(async () => {
    await driver?.[Symbol.asyncDispose]();
    await place?.[Symbol.asyncDispose]();
    await files?.[Symbol.asyncDispose]();
  });

  function open(environment = place?.environment, storageUrl = address()): Promise<StorageDriver> {
    return openStorage({
      storageUrl,
      dataDirectory: "/nonexistent",
      environment: environment ?? {},
      warn: (message) => warnings.push(message),
    });
  }

  function address(change: (url: URL) => void = () => undefined): string {
    const url = new URL((place as Place).url);
    url.pathname = `${url.pathname.replace(/\/$/, "")}/${prefix}`;
    change(url);
    return url.href;
  }

  function at(ctx: TestContext, aspect?: keyof Unseen): Place {
    if (place === undefined) return ctx.skip(why);
    const reason = aspect === undefined ? undefined : place.unseen[aspect];
    return reason === undefined ? place : ctx.skip(`${name}: ${reason}`);
  }

  async function digests(): Promise<Map<string, number>> {
    const found = new Map<string, number>();
    for await (const { sha256, size } of driver.list()) found.set(sha256, size);
    return found;
  }

  test.for([0, 1, 70_000])("keeps and gives %d bytes", async (size, ctx) => {
    at(ctx);
    const staged = await files.random(size);
    if (size > 0) expect(await driver.size(staged.sha256)).toBeNull();
    await driver.put(staged);
    expect(await driver.size(staged.sha256)).toBe(size);
    expect(staged.bytes.equals(await buffer(await driver.read(staged.sha256)))).toBe(true);
    expect((await digests()).get(staged.sha256)).toBe(size);
    await driver.delete(staged.sha256);
    expect(await driver.size(staged.sha256)).toBeNull();
    await driver.delete(staged.sha256);
    expect((await digests()).has(staged.sha256)).toBe(false);
  });

  test("keeps a file of several parts, and gives ranges of it", { timeout: 120_000 }, async (ctx) => {
    at(ctx);
    const staged = await files.random(27 * MIB + 12_345);
    await driver.put(staged);
    expect(await driver.size(staged.sha256)).toBe(staged.size);
    expect(staged.bytes.equals(await buffer(await driver.read(staged.sha256)))).toBe(true);
    const last = staged.size - 1;
    for (const [start, end] of [
      ...(place?.unseen["first byte"] === undefined ? [[0, 0] as const] : []),
      [0, 1],
      [8 * MIB - 3, 8 * MIB + 3],
      [5, 9 * MIB],
      [last - 10, last],
      [last, last],
    ] as const) {
      const part = await buffer(await driver.read(staged.sha256, { start, end }));
      expect(staged.bytes.subarray(start, end + 1).equals(part), `${start} to ${end}`).toBe(true);
    }
    await driver.delete(staged.sha256);
  });

  test("putting the same again changes nothing, and mends what was changed", async (ctx) => {
    at(ctx);
    const staged = await files.random(1000);
    await driver.put(staged);
    await driver.put({ ...staged, path: (await files.stage(staged.bytes)).path });
    expect(staged.bytes.equals(await buffer(await driver.read(staged.sha256)))).toBe(true);
    expect((await digests()).get(staged.sha256)).toBe(1000);
    await driver.delete(staged.sha256);
  });

  test.for([20_000, 17 * MIB])("a hundred writers of the same %d bytes agree", { timeout: 240_000 }, async (size, ctx) => {
    at(ctx);
    const staged = await files.random(size);
    // Of the large file fewer, and one after the other a little later, so that some write parts while others finish.
    const writers = size > MIB ? 5 : 100;
    const copies = await Promise.all(Array.from({ length: writers }, () => files.stage(staged.bytes)));
    await Promise.all(
      copies.map(async (copy, index) => {
        if (size > MIB) await sleep(index * 40);
        await driver.put(copy);
      }),
    );
    expect(staged.bytes.equals(await buffer(await driver.read(staged.sha256)))).toBe(true);
    expect([...(await digests())].filter(([sha256]) => sha256 === staged.sha256)).toEqual([[staged.sha256, size]]);
    await driver.delete(staged.sha256);
  });

  test("lists every page, and nothing that is not ours", { timeout: 120_000 }, async (ctx) => {
    at(ctx);
    const samples = await Promise.all(Array.from({ length: 30 }, (_, index) => files.random(index + 1)));
    await Promise.all(samples.map((sample) => driver.put(sample)));
    // Under the prefix of another, longer by one letter.
    const neighbour = await open(
      place?.environment,
      address((url) => {
        url.pathname += "x";
      }),
    );
    const stranger = await files.random(77);
    await neighbour.put(stranger);
    const found = await digests();
    for (const sample of samples) expect(found.get(sample.sha256)).toBe(sample.size);
    expect(found.has(stranger.sha256)).toBe(false);
    await Promise.all(samples.map((sample) => driver.delete(sample.sha256)));
    await neighbour.delete(stranger.sha256);
    await neighbour[Symbol.asyncDispose]();
    expect(await digests()).toEqual(new Map());
  });

  test("what is not there is FILE_DAMAGED to read", async (ctx) => {
    at(ctx);
    await expect(driver.read(ONE)).rejects.toMatchObject({ code: "FILE_DAMAGED" });
    await expect(driver.read(ONE, { start: 2, end: 3 })).rejects.toMatchObject({ code: "FILE_DAMAGED" });
    expect(await driver.size(ONE)).toBeNull();
  });

  test.for(["../../../etc/passwd", `../${"a".repeat(61)}`, "A".repeat(64), "", `${"a".repeat(63)}/`, `${ONE}\n`])(
    "refuses %j as a digest",
    async (digest, ctx) => {
      at(ctx);
      const staged = await files.random(10);
      await expect(driver.put({ ...staged, sha256: digest })).rejects.toMatchObject({ code: "INTERNAL" });
      await expect(driver.size(digest)).rejects.toMatchObject({ code: "INTERNAL" });
      await expect(driver.read(digest)).rejects.toMatchObject({ code: "INTERNAL" });
      await expect(driver.delete(digest)).rejects.toMatchObject({ code: "INTERNAL" });
    },
  );

  test.for([5000, 4000])("bytes that are not those of the digest are not kept (%d for 5000)", async (size, ctx) => {
    at(ctx);
    if (driver.kind === "local") return ctx.skip("the local driver takes the file as it was staged; scrub finds it");
    const staged = await files.random(5000);
    const put = driver.put({ ...staged, path: (await files.random(size)).path });
    await expect(put).rejects.toMatchObject({ code: "STORAGE_UNAVAILABLE", message: expect.stringContaining("changed") });
    expect(await driver.size(staged.sha256)).toBeNull();
  });

  test("an aborted put leaves nothing, and says why", { timeout: 120_000 }, async (ctx) => {
    const { url, environment } = at(ctx);
    const staged = await files.random(64 * MIB);
    const reason = new Error("the caller went away");
    await expect(driver.put(staged, AbortSignal.abort(reason))).rejects.toBe(reason);
    if (driver.kind !== "local") {
      const controller = new AbortController();
      const put = driver.put(staged, controller.signal);
      setTimeout(() => controller.abort(reason), 60);
      await expect(put).rejects.toBe(reason);
    }
    expect(await driver.size(staged.sha256)).toBeNull();
    expect((await digests()).has(staged.sha256)).toBe(false);
    if (driver.kind === "s3" && (place as Place).unseen.unfinished === undefined) {
      using looking = look(url, environment);
      expect(await unfinished(looking.client, looking.bucket, prefix)).toEqual([]);
    }
  });

  test("an aborted read ends with the caller's reason", async (ctx) => {
    at(ctx);
    const staged = await files.random(9 * MIB);
    await driver.put(staged);
    const controller = new AbortController();
    const stream = await driver.read(staged.sha256, undefined, controller.signal);
    const ended = buffer(stream).then(
      () => "read whole",
      (error) => error,
    );
    controller.abort(new Error("enough"));
    expect(String(await ended)).toMatch(/enough|abort/i);
    const late = driver.read(staged.sha256, undefined, AbortSignal.abort(new Error("too late"))).then(buffer);
    await expect(late).rejects.toThrow(/too late|abort/i);
    await driver.delete(staged.sha256);
  });

  test("hands out an address that works for a while, with name and type", async (ctx) => {
    at(ctx, "presign");
    if (driver.presign === undefined) throw new Error("the driver should hand out addresses");
    const staged = await files.random(3000);
    await driver.put(staged);
    const asked = { expiresSeconds: 60, fileName: 'Grüße "an" alle;\r\n.csv', mimeType: "text/csv" };
    const { url, expiresAt } = await driver.presign(staged.sha256, asked);
    expect(Math.abs(expiresAt - Date.now() - 60_000)).toBeLessThan(10_000);
    const answer = await fetch(url, { signal: AbortSignal.timeout(20_000) });
    expect(answer.status).toBe(200);
    expect(staged.bytes.equals(Buffer.from(await answer.arrayBuffer()))).toBe(true);
    if (driver.kind !== "gcs") {
      expect(answer.headers.get("content-type")).toMatch(/^text\/csv/);
      expect(answer.headers.get("content-disposition")).toMatch(
        /^attachment; .*filename\*=UTF-8''Gr%C3%BC%C3%9Fe%20%22an%22%20alle%3B__\.csv$/,
      );
    } else {
      // The emulator pays no heed to the words; that they are asked for is seen in the address.
      expect(new URL(url).searchParams.get("response-content-type")).toBe("text/csv");
      expect(new URL(url).searchParams.get("response-content-disposition")).toMatch(/^attachment; /);
    }
    expect((await fetch(url, { headers: { range: "bytes=10-19" } })).status).toBe(206);
    await driver.delete(staged.sha256);
  });

  test("an address that has expired or was changed is refused", async (ctx) => {
    at(ctx, "presign");
    at(ctx, "expiry");
    const staged = await files.random(3000);
    await driver.put(staged);
    const options = { expiresSeconds: 1, fileName: "a.bin", mimeType: "application/octet-stream" };
    const address = await driver.presign?.(staged.sha256, options);
    const other = await driver.presign?.(staged.sha256, { ...options, expiresSeconds: 100 });
    await sleep(2_500);
    expect((await fetch(address?.url ?? "")).status).toBeGreaterThanOrEqual(400);
    expect((await fetch(other?.url ?? "")).status).toBe(200);
    const stranger = await files.random(10);
    await driver.put(stranger);
    const forged = (other?.url ?? "")
      .replace(staged.sha256.slice(2), stranger.sha256.slice(2))
      .replace(`/${staged.sha256.slice(0, 2)}/`, `/${stranger.sha256.slice(0, 2)}/`);
    if (place?.unseen.signatures === undefined) expect((await fetch(forged)).status).toBe(403);
    await driver.delete(stranger.sha256);
    await driver.delete(staged.sha256);
  });

  test("hands out no addresses when told so", async (ctx) => {
    at(ctx, "presign");
    const silent = await open(
      place?.environment,
      address((url) => url.searchParams.set("presign", "no")),
    );
    expect(silent.presign).toBeUndefined();
    await silent[Symbol.asyncDispose]();
  });

  test("wrong credentials are STORAGE_UNAVAILABLE, and not told", async (ctx) => {
    const { wrongEnvironment } = at(ctx, "keys");
    const error = await open(wrongEnvironment).then(
      () => new Error("it opened"),
      (failure) => failure,
    );
    expect(error).toMatchObject({ code: "STORAGE_UNAVAILABLE", message: expect.stringMatching(/HTTP 403/) });
    for (const secret of [wrongEnvironment?.AWS_SECRET_ACCESS_KEY, wrongEnvironment?.AZURE_STORAGE_KEY]) {
      if (secret !== undefined) expect(JSON.stringify([error, error.message, error.stack])).not.toContain(secret);
    }
  });

  test("a bucket that is not there is INVALID_SETTING", async (ctx) => {
    at(ctx, "missing bucket");
    const nowhere = address().replace("//treadle-test", "//treadle-nowhere");
    await expect(open(place?.environment, nowhere)).rejects.toMatchObject({
      code: "INVALID_SETTING",
      message: expect.stringMatching(/treadle-nowhere.*Create it/),
    });
  });

  test("sweeps unfinished uploads that are ours and old", async (ctx) => {
    const { url, environment } = at(ctx);
    if (driver.kind !== "s3") {
      await driver.sweep(0);
      return at(ctx, "unfinished");
    }
    if (place?.unseen.unfinished !== undefined) {
      warnings.length = 0;
      await driver.sweep(0);
      expect(warnings).toEqual([expect.stringContaining("cannot list unfinished multipart uploads")]);
      return;
    }
    using looking = look(url, environment);
    const ours = `${prefix}/ab/${"c".repeat(62)}`;
    const theirs = `${prefix}/report.pdf`;
    for (const Key of [ours, theirs]) {
      await looking.client.send(new CreateMultipartUploadCommand({ Bucket: looking.bucket, Key }));
    }
    if (place?.unseen.age === undefined) {
      await driver.sweep(3_600_000);
      expect(await unfinished(looking.client, looking.bucket, prefix)).toEqual([ours, theirs]);
    }
    await sleep(1100);
    await driver.sweep(0);
    expect(await unfinished(looking.client, looking.bucket, prefix)).toEqual([theirs]);
  });

  // The last one: it ends the service.
  test("a service that is gone is STORAGE_UNAVAILABLE, soon", { timeout: 120_000 }, async (ctx) => {
    const { stop } = at(ctx, "outage");
    const staged = await files.random(40 * MIB);
    const small = await files.random(10);
    await driver.put(staged);
    const stream = await driver.read(staged.sha256);
    const broken = once(stream, "error");
    const begun = Date.now();
    await stop?.();
    stream.resume();
    expect((await broken)[0]).toMatchObject({ code: "STORAGE_UNAVAILABLE" });
    const calls = {
      size: driver.size(staged.sha256),
      read: driver.read(staged.sha256),
      put: driver.put(staged),
      "small put": driver.put(small),
      delete: driver.delete(staged.sha256),
      list: digests(),
      open: open(),
    };
    const outcomes = await Promise.allSettled(Object.values(calls));
    for (const [index, call] of Object.keys(calls).entries()) {
      expect(outcomes[index], call).toMatchObject({ status: "rejected", reason: { code: "STORAGE_UNAVAILABLE" } });
    }
    expect(Date.now() - begun).toBeLessThan(25_000);
  });
});

/** A client of the test's own for the bucket that a storage URL names. */
function look(url: string, environment: Place["environment"]): Disposable & { client: S3Client; bucket: string } {
  const { hostname, searchParams } = new URL(url);
  const client = s3Client(searchParams.get("endpoint") ?? "https://s3.amazonaws.com", environment);
  return { client, bucket: hostname, [Symbol.dispose]: () => client.destroy() };
}

async function unfinished(client: S3Client, bucket: string, prefix: string): Promise<string[]> {
  const { Uploads } = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix }));
  return (Uploads ?? []).map(({ Key }) => Key ?? "").toSorted();
}
