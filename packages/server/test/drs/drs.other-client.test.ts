import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { type DrsServer, KEY, startDrsServer } from "./drs-server.ts";
import { type ClientRun, provideClient } from "./other-client/provide-client.ts";
import { startTlsFront, type TlsFront } from "./tls-front.ts";

vi.setConfig({ hookTimeout: 240_000, testTimeout: 60_000 });

// The client speaks https only, so the server stands behind a front that does, as it would in production.
let front: TlsFront;
let server: DrsServer;
let folder: string;
let client: ((...args: string[]) => Promise<ClientRun>) | null = null;
let reason = "";
beforeAll(async () => {
  try {
    client = await provideClient();
  } catch (error) {
    reason = `GA4GH's DRS client cannot be installed here: ${String(error).slice(0, 300)}`;
    return;
  }
  folder = await mkdtemp(join(tmpdir(), "treadle-drs-client-"));
  front = await startTlsFront();
  server = await startDrsServer({ TREADLE_ADMIN_KEY: KEY, TREADLE_PUBLIC_URL: front.url });
  front.leadTo(server.url);
});
beforeEach((context) => {
  if (client === null) context.skip(reason);
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await front?.[Symbol.asyncDispose]();
  if (folder !== undefined) await rm(folder, { recursive: true });
});

const get = (id: string, ...more: string[]) =>
  client?.("get", front.url, id, "-d", "-v", "-s", "-o", folder, ...more) as Promise<ClientRun>;

test("another client downloads a private file with the key and finds its checksum right", async () => {
  const bytes = randomBytes(3_000_000);
  const file = await server.upload("sample.bam", bytes);
  const { status, output } = await get(file.id, "-t", KEY);
  expect(status, output).toBe(0);
  expect((await readFile(join(folder, file.id, "sample.bam"))).equals(bytes)).toBe(true);
  const report = await readFile(join(folder, "drs_download_report.txt"), "utf8");
  expect(report).toMatch(
    new RegExp(`^${file.id}\\tsample.bam\\t.*\\tCOMPLETED\\tPASSED\\tsha-256\\t${file.sha256}\\t${file.sha256}$`, "m"),
  );
});

test("another client downloads what is public without a key, and nothing else", async () => {
  const open = await server.upload("open.txt", "open to all", "&public=true");
  expect(await get(open.id)).toMatchObject({ status: 0 });
  expect(await readFile(join(folder, open.id, "open.txt"), "utf8")).toBe("open to all");
  const hidden = await server.upload("hidden.txt", "hidden");
  const refused = await get(hidden.id);
  expect(refused.status).toBe(1);
  expect(refused.output).toContain("401");
});

test("another client downloads a bundle in a bundle", async () => {
  const files = [await server.upload("one.txt", "1"), await server.upload("two.txt", "22")] as const;
  const inner = await server.bundle("inner", { "two.txt": { file: files[1].id } });
  const outer = await server.bundle("outer", { "one.txt": { file: files[0].id }, inner: { bundle: inner } });
  const { status, output } = await get(outer, "-t", KEY, "-x");
  expect(status, output).toBe(0);
  for (const file of files) expect(await readFile(join(folder, file.id, file.name))).toEqual(file.bytes);
});
