import { createHash, randomBytes } from "node:crypto";
import { request } from "node:http";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { type Answer, sendBytes } from "../harness/http.ts";
import { sharedServer } from "../harness/shared-server.ts";

const server = sharedServer({
  flags: { prewarmed: "0", "file-max-size": "8mb", "request-max-size": "64kb", "files-quota": "40mb" },
});

interface FileView {
  readonly id: string;
  readonly name: string;
  readonly mimeType: string;
  readonly description: string | null;
  readonly sha256: string;
  readonly size: number;
  readonly public: boolean;
  readonly drsUri: string;
  readonly createdAt: number;
}

const sha256 = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex");
const pathOf = (workspace: string) => `/api/v1/workspaces/${workspace}/files`;
const filesOf = (answer: Answer) => answer.json.files as FileView[];

function putRaw(
  workspace: string,
  query: string,
  body: Uint8Array | string,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return server.send("POST", `${pathOf(workspace)}?${query}`, body, {
    headers: { "content-type": "application/octet-stream", ...headers },
  });
}

async function stored(workspace: string, name: string, body: Uint8Array | string): Promise<FileView> {
  const answer = await putRaw(workspace, `name=${encodeURIComponent(name)}`, body);
  expect(answer.status, answer.text).toBe(201);
  return filesOf(answer)[0] as FileView;
}

type Part =
  | { readonly field: string; readonly value: string }
  | { readonly filename: string; readonly bytes: Uint8Array; readonly type?: string };

function form(parts: readonly Part[], { cut = 0 }: { cut?: number } = {}): Buffer {
  const pieces = parts.flatMap((part) =>
    "field" in part
      ? [`--b\r\ncontent-disposition: form-data; name="${part.field}"\r\n\r\n${part.value}\r\n`]
      : [
          `--b\r\ncontent-disposition: form-data; name="file"; filename="${part.filename}"\r\ncontent-type: ${part.type ?? "application/octet-stream"}\r\n\r\n`,
          part.bytes,
          "\r\n",
        ],
  );
  const all = Buffer.concat([...pieces, "--b--\r\n"].map((piece) => Buffer.from(piece as string)));
  return all.subarray(0, all.length - cut);
}

const putForm = (workspace: string, body: Buffer) =>
  server.send("POST", pathOf(workspace), body, { headers: { "content-type": "multipart/form-data; boundary=b" } });

/** A GET whose body is kept as bytes. */
function get(
  path: string,
  headers: Record<string, string> = {},
  method = "GET",
): Promise<{ status: number; headers: Record<string, unknown>; body: Buffer }> {
  return new Promise((resolve, reject) => {
    request({ port: server.port, method, path, headers }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.on("end", () =>
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: Buffer.concat(chunks) }),
      );
      incoming.on("error", reject);
    })
      .on("error", reject)
      .end();
  });
}

describe("storing", () => {
  test("bytes as they are, and all that is known of them", async () => {
    const bytes = randomBytes(300_000);
    const answer = await putRaw(
      "raw",
      `name=a%20b.csv&description=x&public=true&sha256=${sha256(bytes)}&size=${bytes.length}`,
      bytes,
    );
    expect(answer.status, answer.text).toBe(201);
    const [file] = filesOf(answer);
    expect(file).toMatchObject({
      ...{ name: "a b.csv", mimeType: "text/csv", description: "x", public: true, size: bytes.length, sha256: sha256(bytes) },
      ...{ drsUri: `drs://127.0.0.1:${server.port}/${file?.id}`, origin: null, damaged: false },
    });
    expect((await server.send("GET", `${pathOf("raw")}/${file?.id}`)).json).toEqual(file);
    expect((await server.send("GET", "/api/v1/workspaces/raw/usage")).json).toMatchObject({ files: 1, bytes: bytes.length });
  });

  test("a form with several files, each with the fields before it", async () => {
    const [one, two] = [randomBytes(100_000), Buffer.from("{}")];
    const answer = await putForm(
      "form",
      form([
        { field: "description", value: "the first" },
        { field: "sha256", value: sha256(one) },
        { filename: "one.bin", bytes: one },
        { field: "public", value: "true" },
        { filename: "two.json", bytes: two, type: "application/json" },
        { filename: "empty.txt", bytes: Buffer.alloc(0) },
      ]),
    );
    expect(answer.status, answer.text).toBe(201);
    expect(
      filesOf(answer).map(({ name, description, public: open, size, sha256: digest }) => [name, description, open, size, digest]),
    ).toEqual([
      ["one.bin", "the first", false, one.length, sha256(one)],
      ["two.json", null, true, 2, sha256(two)],
      ["empty.txt", null, false, 0, sha256("")],
    ]);
    const bytes = await get(`${pathOf("form")}/${filesOf(answer)[0]?.id}/content`);
    expect(bytes.body.equals(one)).toBe(true);
  });

  test("of a form with a bad file, those before it stay and are named", async () => {
    const answer = await putForm(
      "half",
      form([
        { filename: "good", bytes: Buffer.from("good") },
        { field: "sha256", value: "0".repeat(64) },
        { filename: "bad", bytes: Buffer.from("bad") },
        { filename: "after", bytes: Buffer.from("after") },
      ]),
    );
    expect([answer.status, answer.code]).toEqual([422, "CHECKSUM_MISMATCH"]);
    expect(answer.json.error?.details?.files).toMatchObject([{ name: "good" }]);
    expect(filesOf(await server.send("GET", pathOf("half"))).map(({ name }) => name)).toEqual(["good"]);
  });

  test("a form that ends early keeps nothing of the file it ends in", async () => {
    for (const cut of [7, 10, 5_000]) {
      const answer = await putForm("cut", form([{ filename: "f", bytes: randomBytes(100_000) }], { cut }));
      expect([answer.status, answer.code], `cut by ${cut}`).toEqual([400, "BAD_REQUEST"]);
    }
    // Not even the workspace was made.
    expect((await server.send("GET", pathOf("cut"))).code).toBe("UNKNOWN_WORKSPACE");
  });

  test.each(["raw", "form"])("a connection that breaks leaves nothing: %s", async (kind) => {
    const head = kind === "raw" ? "content-type: x/y" : "content-type: multipart/form-data; boundary=b";
    const begin = kind === "raw" ? "" : '--b\r\ncontent-disposition: form-data; name="f"; filename="f"\r\n\r\n';
    const socket = connect(server.port, "127.0.0.1");
    socket.write(
      `POST ${pathOf("broken")}?name=f HTTP/1.1\r\nhost: localhost\r\n${head}\r\ncontent-length: 4000000\r\n\r\n${begin}`,
    );
    socket.write(randomBytes(2_000_000));
    await delay(300);
    socket.destroy();
    await delay(300);
    // Not even the workspace was made.
    expect((await server.send("GET", pathOf("broken"))).code).toBe("UNKNOWN_WORKSPACE");
  });

  test("a digest header is held to", async () => {
    const digest = (text: string) => createHash("sha256").update(text).digest("base64");
    for (const headers of [{ "content-digest": `sha-256=:${digest("abc")}:` }, { digest: `sha-256=${digest("abc")}` }] as Record<
      string,
      string
    >[]) {
      expect((await putRaw("digest", "name=a", "abc", headers)).status).toBe(201);
      expect((await putRaw("digest", "name=a", "abd", headers)).code).toBe("CHECKSUM_MISMATCH");
    }
    expect((await putRaw("digest", "name=a", "abc", { "content-digest": "sha-256=:AAAA:" })).code).toBe("BAD_REQUEST");
  });

  test.each([
    ["name=a", "x", { "content-encoding": "gzip" }, 415],
    ["", "x", {}, 400],
    ["name=", "x", {}, 400],
    ["name=a%2Fb", "x", {}, 400],
    ["name=a%00b", "x", {}, 400],
    ["name=a%0d%0ab", "x", {}, 400],
    [`name=${"n".repeat(256)}`, "x", {}, 400],
    ["name=a&sha256=xyz", "x", {}, 400],
    [`name=a&sha256=${"0".repeat(64)}`, "x", {}, 422],
    ["name=a&size=2", "x", {}, 422],
    ["name=a&size=-1", "x", {}, 400],
    ["name=a&public=maybe", "x", {}, 400],
    ["name=a&name=b", "x", {}, 400],
    ["name=a", "x", { "content-type": "nonsense" }, 415],
  ] as [string, string, Record<string, string>, number][])("is refused: %s %j %j", async (query, body, headers, status) => {
    const answer = await putRaw("refused", query, body, headers);
    expect(answer.status, answer.text).toBe(status);
  });

  test("forms that are none are refused", async () => {
    for (const body of [Buffer.alloc(0), Buffer.from("nonsense"), form([]), form([{ field: "x", value: "y" }])]) {
      const answer = await putForm("noform", body);
      expect(answer.status, answer.text).toBe(400);
    }
    const polluting = form([
      { field: "__proto__", value: "y" },
      { filename: "f", bytes: Buffer.from("x") },
    ]);
    expect((await putForm("polluting", polluting)).status).toBe(400);
    const noBoundary = await server.send("POST", pathOf("noform"), "x", { headers: { "content-type": "multipart/form-data" } });
    expect(noBoundary.status, noBoundary.text).toBe(400);
    // Not even the workspace was made.
    expect((await server.send("GET", pathOf("noform"))).code).toBe("UNKNOWN_WORKSPACE");
  });

  test("what is too large is refused before its bytes are read, and while they come", async () => {
    const announced = await sendBytes(
      server.port,
      `POST ${pathOf("large")}?name=a HTTP/1.1\r\nhost: localhost\r\ncontent-type: x/y\r\ncontent-length: 9000000\r\n\r\n`,
      1_000,
    );
    expect(announced).toMatch(/^HTTP\/1\.1 413 [\s\S]*FILE_TOO_LARGE/);
    const streamed = await putForm("large", form([{ filename: "a", bytes: Buffer.alloc(9_000_000) }]));
    expect([streamed.status, streamed.code]).toEqual([413, "FILE_TOO_LARGE"]);
  });

  test("the quota is held, for files and for forms, and can be set", async () => {
    await stored("quota", "a", randomBytes(1_000_000));
    const set = await server.send("PUT", "/api/v1/workspaces/quota/quota", { quotaBytes: 1_500_000 });
    expect(set.json).toMatchObject({ files: 1, bytes: 1_000_000, quotaBytes: 1_500_000 });
    expect((await putRaw("quota", "name=b", randomBytes(600_000))).code).toBe("QUOTA_EXCEEDED");
    expect((await putForm("quota", form([{ filename: "b", bytes: randomBytes(600_000) }]))).code).toBe("QUOTA_EXCEEDED");
    expect((await putForm("quota", form([{ filename: "b", bytes: randomBytes(3_000_000) }]))).code).toBe("QUOTA_EXCEEDED");
    expect((await putRaw("quota", "name=b", randomBytes(400_000))).status).toBe(201);
    const back = await server.send("PUT", "/api/v1/workspaces/quota/quota", { quotaBytes: null });
    expect(back.json).toMatchObject({ quotaBytes: 40 * 1024 * 1024 });
    expect((await server.send("PUT", "/api/v1/workspaces/nowhere/quota", { quotaBytes: 1 })).code).toBe("UNKNOWN_WORKSPACE");
    expect((await server.send("PUT", "/api/v1/workspaces/quota/quota", { quotaBytes: -1 })).code).toBe("BAD_REQUEST");
  });
});

describe("reading", () => {
  const bytes = randomBytes(1_000_000);
  let path = "";
  let file: FileView | undefined;
  const prepare = async () => {
    file ??= await stored("read", "data.bin", bytes);
    path = `${pathOf("read")}/${file.id}/content`;
    return file;
  };

  test("the whole, with headers that keep a browser from showing it", async () => {
    const { sha256: digest } = await prepare();
    const whole = await get(path);
    expect(whole.status).toBe(200);
    expect(whole.body.equals(bytes)).toBe(true);
    expect(whole.headers).toMatchObject({
      "content-length": "1000000",
      "content-type": "application/octet-stream",
      "content-disposition": 'attachment; filename="data.bin"',
      "accept-ranges": "bytes",
      etag: `"${digest}"`,
      "x-content-type-options": "nosniff",
      "content-security-policy": "sandbox; default-src 'none'",
      "repr-digest": `sha-256=:${Buffer.from(digest, "hex").toString("base64")}:`,
    });
    const head = await get(path, {}, "HEAD");
    const { date: _date, ...same } = whole.headers;
    expect(head.headers).toMatchObject(same);
    expect(head.body).toHaveLength(0);
  });

  test.each([
    ["bytes=0-9", 0, 9],
    ["bytes=999990-", 999_990, 999_999],
    ["bytes=-5", 999_995, 999_999],
    ["bytes=-9000000", 0, 999_999],
    ["bytes=500000-99999999999", 500_000, 999_999],
    ["BYTES=7-7", 7, 7],
  ])("the range %s", async (range, start, end) => {
    await prepare();
    const part = await get(path, { range });
    expect(part.status).toBe(206);
    expect(part.headers["content-range"]).toBe(`bytes ${start}-${end}/1000000`);
    expect(part.body.equals(bytes.subarray(start, end + 1))).toBe(true);
    const head = await get(path, { range }, "HEAD");
    expect([head.status, head.headers["content-length"]]).toEqual([206, String(end - start + 1)]);
  });

  test.each(["bytes=1000000-", "bytes=-0", "bytes=99999999999999999999-"])("the range %s lies outside", async (range) => {
    await prepare();
    const answer = await get(path, { range });
    expect([answer.status, answer.headers["content-range"]]).toEqual([416, "bytes */1000000"]);
    expect(JSON.parse(answer.body.toString()).error.code).toBe("RANGE_NOT_SATISFIABLE");
  });

  test.each(["bytes=0-1,5-6", "bytes=9-2", "bytes=", "bytes=-", "lines=1-2", "x", "bytes=a-b"])(
    "the range %s is passed over",
    async (range) => {
      await prepare();
      const answer = await get(path, { range });
      expect([answer.status, answer.body.length]).toEqual([200, 1_000_000]);
    },
  );

  test("conditions", async () => {
    const { sha256: digest } = await prepare();
    const etag = `"${digest}"`;
    const modified = String((await get(path, {}, "HEAD")).headers["last-modified"]);
    for (const headers of [
      { "if-none-match": etag },
      { "if-none-match": `"x", W/${etag}` },
      { "if-none-match": "*" },
      { "if-modified-since": modified },
    ] as Record<string, string>[]) {
      const answer = await get(path, headers);
      expect([answer.status, answer.body.length], JSON.stringify(headers)).toEqual([304, 0]);
    }
    expect((await get(path, { "if-none-match": '"x"', "if-modified-since": modified })).status).toBe(200);
    expect((await get(path, { range: "bytes=0-0", "if-range": etag })).status).toBe(206);
    expect((await get(path, { range: "bytes=0-0", "if-range": modified })).status).toBe(206);
    expect((await get(path, { range: "bytes=0-0", "if-range": '"x"' })).status).toBe(200);
  });

  test("an empty file", async () => {
    const empty = await stored("read", "empty", "");
    const whole = await get(`${pathOf("read")}/${empty.id}/content`);
    expect([whole.status, whole.headers["content-length"], whole.body.length]).toEqual([200, "0", 0]);
    expect((await get(`${pathOf("read")}/${empty.id}/content`, { range: "bytes=0-0" })).status).toBe(416);
  });

  test.each([
    ['quo"te.txt', "attachment; filename=\"quo_te.txt\"; filename*=UTF-8''quo%22te.txt"],
    ["ünï.txt", "attachment; filename=\"_n_.txt\"; filename*=UTF-8''%C3%BCn%C3%AF.txt"],
    ["a\\b%41'(x).txt", "attachment; filename=\"a_b_41'(x).txt\"; filename*=UTF-8''a%5Cb%2541%27%28x%29.txt"],
    ["..", 'attachment; filename=".."'],
    ["<script>", 'attachment; filename="<script>"'],
    ["n".repeat(255), `attachment; filename="${"n".repeat(255)}"`],
  ])("the name %j is safe in a header", async (name, header) => {
    const answer = await putRaw("names", `name=${encodeURIComponent(name)}`, "x");
    if (answer.status === 400) return expect(name).toBe("..");
    expect(answer.status, answer.text).toBe(201);
    const read = await get(`${pathOf("names")}/${filesOf(answer)[0]?.id}/content`);
    expect(read.headers["content-disposition"]).toBe(header);
  });

  test("a client that goes away in the middle is no defect", async () => {
    await prepare();
    for (let round = 0; round < 5; round++) {
      const socket = connect(server.port, "127.0.0.1");
      socket.write(`GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`);
      await new Promise((resolve) => socket.once("data", resolve));
      socket.destroy();
    }
    expect((await get(path)).body.equals(bytes)).toBe(true);
  });
});

describe("listing, changing, removing", () => {
  test("pages, prefixes and digests", async () => {
    for (const name of ["b1", "a1", "a2", "a_", "a%"]) await stored("list", name, name);
    const first = (await server.send("GET", `${pathOf("list")}?limit=2`)).json as unknown as { files: FileView[]; next: string };
    expect(first.files.map(({ name }) => name)).toEqual(["b1", "a1"]);
    const rest = await server.send("GET", `${pathOf("list")}?limit=100&after=${first.next}`);
    expect(filesOf(rest).map(({ name }) => name)).toEqual(["a2", "a_", "a%"]);
    expect(rest.json.next).toBeNull();
    for (const [query, names] of [
      ["prefix=a", ["a1", "a2", "a_", "a%"]],
      ["prefix=a_", ["a_"]],
      ["prefix=a%25", ["a%"]],
      [`sha256=${sha256("a2")}`, ["a2"]],
    ] as const) {
      expect(
        filesOf(await server.send("GET", `${pathOf("list")}?${query}`)).map(({ name }) => name),
        query,
      ).toEqual(names);
    }
  });

  test("what is said of a file changes, its bytes stay; then it goes", async () => {
    const file = await stored("change", "old", "x");
    const path = `${pathOf("change")}/${file.id}`;
    const changed = await server.send("PATCH", path, { name: "new.md", description: "d", public: true, mimeType: "text/plain" });
    expect(changed.json).toMatchObject({
      name: "new.md",
      description: "d",
      public: true,
      mimeType: "text/plain",
      sha256: file.sha256,
    });
    expect((await server.send("PATCH", path, { description: null })).json).toMatchObject({ description: null, name: "new.md" });
    for (const body of [{ name: "" }, { name: "a/b" }, { mimeType: "x\r\ny: z" }, { sha256: "0" }, { public: "yes" }]) {
      expect((await server.send("PATCH", path, body)).status, JSON.stringify(body)).toBe(400);
    }
    expect((await server.send("DELETE", path)).status).toBe(204);
    for (const [method, suffix] of [
      ["GET", ""],
      ["GET", "/content"],
      ["DELETE", ""],
    ] as const) {
      expect((await server.send(method, `${path}${suffix}`)).code).toBe("UNKNOWN_FILE");
    }
    expect((await server.send("GET", "/api/v1/workspaces/change/usage")).json).toMatchObject({ files: 0, bytes: 0 });
  });

  test("another workspace's file is unknown on every route", async () => {
    const file = await stored("mine", "secret", "secret");
    await stored("theirs", "x", "x");
    const path = `${pathOf("theirs")}/${file.id}`;
    for (const [method, suffix, body] of [
      ["GET", ""],
      ["PATCH", "", { name: "x" }],
      ["DELETE", ""],
      ["GET", "/content"],
      ["POST", "/link", {}],
    ] as [string, string, object?][]) {
      const answer = await server.send(method, `${path}${suffix}`, body);
      expect([answer.status, answer.code], `${method} ${suffix}`).toEqual([404, "UNKNOWN_FILE"]);
    }
    expect((await get(`${path}/content`, {}, "HEAD")).status).toBe(404);
    expect((await get(`${pathOf("mine")}/${file.id}/content`)).body.toString()).toBe("secret");
  });
});

describe("links", () => {
  test("give the bytes and ranges of them without a key, until they expire; and nothing else", async () => {
    const file = await stored("links", "l.txt", "0123456789");
    const { json } = await server.send("POST", `${pathOf("links")}/${file.id}/link`, { expiresSeconds: 2 });
    const url = new URL(String(json.url));
    expect(url.origin).toBe(`http://127.0.0.1:${server.port}`);
    const path = url.pathname + url.search;
    expect((await get(path)).body.toString()).toBe("0123456789");
    expect((await get(path, { range: "bytes=2-3" })).body.toString()).toBe("23");
    expect((await get(path, {}, "HEAD")).headers["content-length"]).toBe("10");
    const other = await stored("links", "other", "other");
    const last = path.at(-1) === "A" ? "B" : "A";
    for (const wrong of [
      path.replace(file.id, other.id),
      path.replace(/expires=\d+/, "expires=99999999999"),
      `${path.slice(0, -2)}${last}${last}`,
      path.replace(/&signature=.*/, ""),
      path.replace(/signature=.*/, "signature="),
      path.replace(/expires=\d+/, "expires=x"),
      `${path}&signature=x`,
      url.pathname,
    ]) {
      const answer = await server.send("GET", wrong);
      expect([400, 403], wrong).toContain(answer.status);
      expect(answer.text).not.toContain("01234");
    }
    await delay(Number(json.expiresAt) - Date.now() + 1_100);
    expect((await server.send("GET", path)).code).toBe("LINK_REFUSED");
  });

  test.each([{ expiresSeconds: 0 }, { expiresSeconds: 604_801 }, { expiresSeconds: "1" }, { other: 1 }])(
    "%j is refused",
    async (body) => {
      const file = await stored("links", "l", "x");
      expect((await server.send("POST", `${pathOf("links")}/${file.id}/link`, body)).code).toBe("BAD_REQUEST");
    },
  );
});

test("storage: totals count equal bytes once; nothing in use is collected; a scrub finds all whole; metrics count", async () => {
  const before = (await server.send("GET", "/api/v1/storage")).json as unknown as { kind: string; files: number; bytes: number };
  expect(before.kind).toBe("file");
  const bytes = randomBytes(50_000);
  const file = await stored("storage1", "a", bytes);
  await stored("storage2", "b", bytes);
  expect((await server.send("GET", "/api/v1/storage")).json).toEqual({
    kind: "file",
    files: before.files + 2,
    bytes: before.bytes + 50_000,
  });
  expect((await server.send("POST", "/api/v1/storage/collect")).json).toMatchObject({
    blobs: expect.any(Number),
    bytes: expect.any(Number),
  });
  expect((await get(`${pathOf("storage1")}/${file.id}/content`)).body.equals(bytes)).toBe(true);
  expect((await server.send("POST", "/api/v1/storage/scrub")).json).toMatchObject({ damaged: [], checked: expect.any(Number) });
  const metrics = (await server.send("GET", "/metrics")).text;
  expect(Number(/^treadle_uploaded_bytes_total (\d+)/m.exec(metrics)?.[1])).toBeGreaterThan(100_000);
  expect(Number(/^treadle_downloaded_bytes_total (\d+)/m.exec(metrics)?.[1])).toBeGreaterThan(50_000);
});

test("an import that cannot be is refused; one that fails says why; another workspace does not see it", async () => {
  const path = "/api/v1/workspaces/imports/imports";
  for (const body of [
    {},
    { url: "ftp://x/y" },
    { url: "nonsense" },
    { url: "http://x/y", sha256: "x" },
    { url: "http://x/", size: -1 },
  ])
    expect((await server.send("POST", path, body)).status, JSON.stringify(body)).toBe(400);
  const started = await server.send("POST", path, { url: `http://127.0.0.1:${server.port}/health`, name: "h" });
  expect(started.status, started.text).toBe(202);
  const { id } = started.json as { id?: string };
  expect(started.headers.location).toBe(`${path}/${id}`);
  let state = started;
  for (let round = 0; round < 100 && ["queued", "running"].includes(String(state.json.state)); round++) {
    await delay(100);
    state = await server.send("GET", `${path}/${id}`);
  }
  expect(state.json).toMatchObject({ state: "failed", error: { code: "IMPORT_FAILED" } });
  expect((await server.send("GET", path)).json.imports).toHaveLength(1);
  for (const method of ["GET", "DELETE"])
    expect((await server.send(method, `/api/v1/workspaces/other/imports/${id}`)).code).toBe("UNKNOWN_IMPORT");
});

describe("with an admin key", () => {
  const key = "k".repeat(40);
  const guarded = sharedServer({
    flags: { prewarmed: "0", "public-url": "https://files.example" },
    environment: { TREADLE_ADMIN_KEY: key },
  });
  const authorization = `Bearer ${key}`;

  test("a link works without it, and names the public address; the routes do not", async () => {
    const put = await guarded.send("POST", `${pathOf("w")}?name=a`, "abc", { headers: { authorization, "content-type": "x/y" } });
    const [file] = filesOf(put);
    expect(file?.drsUri).toBe(`drs://files.example/${file?.id}`);
    const path = `${pathOf("w")}/${file?.id}`;
    const { json } = await guarded.send("POST", `${path}/link`, {}, { headers: { authorization } });
    const url = new URL(String(json.url));
    expect(url.origin).toBe("https://files.example");
    expect((await guarded.send("GET", url.pathname + url.search)).text).toBe("abc");
    expect((await guarded.send("GET", url.pathname)).code).toBe("LINK_REFUSED");
    for (const [method, route] of [
      ["GET", path],
      ["GET", `${path}/content`],
      ["POST", `${path}/link`],
      ["POST", `${pathOf("w")}?name=b`],
      ["OPTIONS", "/api/v1/workspaces/w/uploads"],
      ["GET", "/files"],
    ] as const) {
      const answer = await guarded.send(method, route, method === "POST" ? {} : undefined);
      expect([answer.status, answer.code], route).toEqual([401, "UNAUTHORIZED"]);
    }
  });
});
