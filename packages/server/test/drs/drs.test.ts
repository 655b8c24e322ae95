import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type DrsServer, PREFIX, sha256, startDrsServer } from "./drs-server.ts";
import { sendTo } from "./send.ts";

// A server of one machine: it has no key, and whoever reaches it may read all.
let server: DrsServer;
beforeAll(async () => {
  server = await startDrsServer({ TREADLE_LINK_EXPIRY: "60" });
});
afterAll(() => server?.[Symbol.asyncDispose]());

const UNKNOWN = "01999999-9999-7999-8999-999999999999";

test("service-info says what this is and how much there is", async () => {
  await server.upload("counted.txt", "counted");
  const { status, json } = await server.drs("GET", "/service-info");
  expect(status).toBe(200);
  expect(json).toMatchObject({
    type: { group: "org.ga4gh", artifact: "drs", version: "1.5.0" },
    organization: { url: server.url },
    maxBulkRequestLength: 1000,
    drs: { maxBulkRequestLength: 1000, objectRegistrationSupported: true, fetchByChecksumSupported: true },
  });
  expect(json.drs.objectCount).toBeGreaterThan(0);
  expect(json.drs.totalObjectSize).toBeGreaterThanOrEqual("counted".length);
  expect((await server.drs("HEAD", "/service-info")).status).toBe(200);
});

test("a file is an object with its size, checksum and a way to its bytes", async () => {
  const file = await server.upload("reads.fastq", "@read\nACGT\n", "&description=Four%20bases");
  const { status, json } = await server.drs("GET", `/objects/${file.id}`);
  expect(status).toBe(200);
  expect(json).toMatchObject({
    id: file.id,
    name: "reads.fastq",
    self_uri: `drs://${server.host}/${file.id}`,
    size: 11,
    checksums: [{ type: "sha-256", checksum: file.sha256 }],
    version: file.sha256,
    description: "Four bases",
    access_methods: [{ type: "https", access_id: "https", available: true, authorizations: { supported_types: ["None"] } }],
  });
  expect(json).not.toHaveProperty("contents");
  expect(json).not.toHaveProperty("aliases");
  for (const form of [
    file.id.toUpperCase(),
    file.id.replaceAll("-", "%2D"),
    file.id.replace(/./g, (digit) => `%${digit.charCodeAt(0).toString(16)}`),
  ])
    expect((await server.drs("GET", `/objects/${form}`)).json.id, form).toBe(file.id);
  expect((await server.drs("POST", `/objects/${file.id}`, { body: {} })).json).toEqual(json);
  expect((await server.drs("POST", `/objects/${file.id}`, { body: { expand: true, passports: ["a.b.c"] } })).json).toEqual(json);
  const head = await server.drs("HEAD", `/objects/${file.id}`);
  expect([head.status, Number(head.headers["content-length"])]).toEqual([200, JSON.stringify(json).length]);
  expect((await server.drs("OPTIONS", `/objects/${file.id}`)).json).toEqual({
    drs_object_id: file.id,
    supported_types: ["None"],
  });
});

test("names that DRS does not take are cleaned, and kept as aliases", async () => {
  const file = await server.upload("Größe & more (1).txt", "x");
  expect((await server.drs("GET", `/objects/${file.id}`)).json).toMatchObject({
    name: "Gr__e___more__1_.txt",
    aliases: ["Größe & more (1).txt"],
  });
});

test("the bytes come by the address that access gives, whole and in parts", async () => {
  const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, index) => index % 251));
  const file = await server.upload("bytes.bin", bytes);
  for (const [method, options] of [
    ["GET", {}],
    ["POST", { body: { passports: [] } }],
  ] as const) {
    const access = await server.drs(method, `/objects/${file.id}/access/https`, options);
    expect(access.status).toBe(200);
    expect(access.headers["cache-control"]).toBe("no-store");
    expect(access.json.url.startsWith(`${server.url}/files/${file.id}?`)).toBe(true);
    const whole = await fetch(access.json.url);
    expect([whole.status, sha256(Buffer.from(await whole.arrayBuffer()))]).toEqual([200, file.sha256]);
    const part = await fetch(access.json.url, { headers: { range: "bytes=1000-1999" } });
    expect(part.status).toBe(206);
    expect(Buffer.from(await part.arrayBuffer())).toEqual(bytes.subarray(1000, 2000));
  }
  expect((await server.drs("GET", `/objects/${file.id}/access/s3`)).status).toBe(404);
  expect((await server.drs("GET", `/objects/${UNKNOWN}/access/https`)).status).toBe(404);
  expect((await server.drs("HEAD", `/objects/${file.id}/access/https`)).status).toBe(200);
});

test("bundles have contents, a checksum of checksums, and can be expanded", async () => {
  const [a, b] = [await server.upload("a.txt", "aaa"), await server.upload("b.txt", "bb")];
  const inner = await server.bundle("inner", { "a.txt": { file: a.id }, "b.txt": { file: b.id } });
  const outer = await server.bundle(
    "outer",
    { nested: { bundle: inner }, "copy-of-a": { file: a.id } },
    { description: "two deep" },
  );
  const uri = (id: string) => [`drs://${server.host}/${id}`];
  const sum = (...digests: string[]) => sha256(digests.sort().join(""));

  const flat = (await server.drs("GET", `/objects/${outer}`)).json;
  expect(flat).toMatchObject({ id: outer, name: "outer", size: 8, description: "two deep" });
  expect(flat.checksums).toEqual([{ type: "sha-256", checksum: sum(sum(a.sha256, b.sha256), a.sha256) }]);
  expect(flat.contents).toEqual([
    { name: "nested", id: inner, drs_uri: uri(inner) },
    { name: "copy-of-a", id: a.id, drs_uri: uri(a.id) },
  ]);
  expect(flat).not.toHaveProperty("access_methods");

  const expanded = [
    {
      ...flat.contents[0],
      contents: [
        { name: "a.txt", id: a.id, drs_uri: uri(a.id) },
        { name: "b.txt", id: b.id, drs_uri: uri(b.id) },
      ],
    },
    flat.contents[1],
  ];
  for (const value of ["true", "True", "TRUE"])
    expect((await server.drs("GET", `/objects/${outer}?expand=${value}`)).json.contents).toEqual(expanded);
  expect((await server.drs("POST", `/objects/${outer}`, { body: { expand: true } })).json.contents).toEqual(expanded);
  expect((await server.drs("GET", `/objects/${outer}?expand=false`)).json).toEqual(flat);
  expect((await server.drs("GET", `/objects/${outer}?expand=maybe`)).status).toBe(400);
  expect((await server.drs("GET", `/objects/${outer}/access/https`)).status).toBe(404);
  expect((await server.drs("OPTIONS", `/objects/${outer}`)).json.supported_types).toEqual(["None"]);
  expect((await server.api("DELETE", `/bundles/${inner}`)).status).toBe(409);
  expect((await server.api("DELETE", `/files/${b.id}`)).status).toBe(409);
});

test("expanding what would be endless is refused", async () => {
  const file = await server.upload("leaf", "leaf");
  let top = await server.bundle("0", { l: { file: file.id }, r: { file: file.id } });
  for (let depth = 1; depth < 20; depth++) top = await server.bundle(`${depth}`, { l: { bundle: top }, r: { bundle: top } });
  const answer = await server.drs("GET", `/objects/${top}?expand=true`);
  expect([answer.status, answer.json.msg]).toEqual([400, expect.stringContaining("2097150 entries")]);
  expect((await server.drs("GET", `/objects/${top}`)).json.contents).toHaveLength(2);
  expect((await server.drs("POST", "/objects?expand=true", { body: { bulk_object_ids: [top] } })).status).toBe(413);
  const wide = await server.bundle(
    "wide",
    Object.fromEntries(Array.from({ length: 9_000 }, (_, n) => [`f${n}`, { file: file.id }])),
  );
  expect((await server.drs("GET", `/objects/${wide}?expand=true`)).json.contents).toHaveLength(9_000);
  expect((await server.drs("POST", "/objects", { body: { bulk_object_ids: [wide, wide, wide] } })).status).toBe(413);
});

test("many objects at once: in order, repetitions kept, what is missing by its status", async () => {
  const [a, b] = [await server.upload("a", "1"), await server.upload("b", "22")];
  const bundle = await server.bundle("both", { a: { file: a.id }, b: { file: b.id } });
  const ids = [b.id, UNKNOWN, a.id, "no id", b.id, bundle, "\0", UNKNOWN];
  const { status, json } = await server.drs("POST", "/objects", { body: { bulk_object_ids: ids, passports: [] } });
  expect(status).toBe(200);
  expect(json.summary).toEqual({ requested: 8, resolved: 4, unresolved: 4 });
  expect(json.unresolved_drs_objects).toEqual([{ error_code: 404, object_ids: [UNKNOWN, "no id", "\0", UNKNOWN] }]);
  expect(json.resolved_drs_object.map((object: { id: string }) => object.id)).toEqual([b.id, a.id, b.id, bundle]);
  expect(json.resolved_drs_object[1]).toEqual((await server.drs("GET", `/objects/${a.id}`)).json);

  const how = await server.drs("OPTIONS", "/objects", { body: { bulk_object_ids: [a.id, UNKNOWN] } });
  expect(how.json).toEqual({
    summary: { requested: 2, resolved: 1, unresolved: 1 },
    unresolved_drs_objects: [{ error_code: 404, object_ids: [UNKNOWN] }],
    resolved_drs_object: [{ drs_object_id: a.id, supported_types: ["None"] }],
  });

  const access = await server.drs("POST", "/objects/access", {
    body: {
      bulk_object_access_ids: [
        { bulk_object_id: a.id, bulk_access_ids: ["https", "ftp", "https"] },
        { bulk_object_id: UNKNOWN, bulk_access_ids: ["https"] },
        { bulk_object_id: bundle, bulk_access_ids: ["https"] },
        { bulk_object_id: b.id, bulk_access_ids: [] },
      ],
    },
  });
  expect(access.json.summary).toEqual({ requested: 5, resolved: 2, unresolved: 3 });
  expect(access.json.unresolved_drs_objects).toEqual([{ error_code: 404, object_ids: [a.id, UNKNOWN, bundle] }]);
  for (const each of access.json.resolved_drs_object_access_urls) {
    expect(each).toMatchObject({ drs_object_id: a.id, drs_access_id: "https" });
    expect(await (await fetch(each.url)).text()).toBe("1");
  }
  expect((await server.drs("POST", "/objects", { body: { bulk_object_ids: [] } })).json.summary.requested).toBe(0);
});

test("more than the stated maximum is too much", async () => {
  const many = (count: number) => Array.from({ length: count }, (_, n) => `${UNKNOWN.slice(0, -4)}${String(n).padStart(4, "0")}`);
  const pairs = (count: number) => many(count).map((id) => ({ bulk_object_id: id, bulk_access_ids: ["https"] }));
  for (const [method, path, body] of [
    ["POST", "/objects", (count: number) => ({ bulk_object_ids: many(count) })],
    ["OPTIONS", "/objects", (count: number) => ({ bulk_object_ids: many(count) })],
    ["POST", "/objects/access", (count: number) => ({ bulk_object_access_ids: pairs(count) })],
  ] as const) {
    const most = await server.drs(method, path, { body: body(1000) });
    expect([most.status, most.json.summary.unresolved], `${method} ${path}`).toEqual([200, 1000]);
    expect((await server.drs(method, path, { body: body(1001) })).status, `${method} ${path}`).toBe(413);
    // Far past the size of a body.
    expect((await server.drs(method, path, { body: body(60_000) })).status, `${method} ${path}`).toBe(413);
  }
  const few = [{ bulk_object_id: UNKNOWN, bulk_access_ids: many(1001) }];
  expect((await server.drs("POST", "/objects/access", { body: { bulk_object_access_ids: few } })).status).toBe(413);
});

test("ids that are none, in every writing, lead nowhere", async () => {
  const file = await server.upload("target", "target");
  const bad = ["%00", `${file.id}%00`, "%0d%0aX-Injected:%201", "%1b[31m"];
  const malformed = ["%", "%zz", "%e0%80%af", "%c0%ae%c0%ae", "%ed%a0%80", "%ff", `${file.id}%`, "%u002e"];
  const unknown = [
    ...["..", "%2e%2e", "%252e%252e", "..%2f..%2fetc%2fpasswd", "%2e%2e%2f%2e%2e%2fsecret.key", "..%5c..%5c", "."],
    ...[`${file.id}%2F`, `%2F${file.id}`, `${file.id}%20`, `%EF%BC%8E`, `{${file.id}}`, file.id.replaceAll("-", "")],
    ...[
      "urn:uuid:1",
      "drs:%2F%2Fother%2Fid",
      "0",
      "null",
      "__proto__",
      "constructor",
      "access",
      "'%20OR%201=1--",
      "%F0%9F%92%A9",
    ],
    ...[UNKNOWN, `${file.id}0`, file.id.slice(1), "a".repeat(400)],
  ];
  for (const [ids, status] of [
    [bad, 400],
    [malformed, 400],
    [unknown, 404],
  ] as const) {
    for (const id of ids) {
      for (const [method, path, options] of [
        ["GET", `/objects/${id}`, {}],
        ["HEAD", `/objects/${id}`, {}],
        ["POST", `/objects/${id}`, { body: {} }],
        ["GET", `/objects/${id}/access/https`, {}],
        ["POST", `/objects/${id}/access/https`, { body: {} }],
      ] as const) {
        // This one is a route of its own, which wants another body.
        if (id === "access" && method === "POST" && path === "/objects/access") continue;
        expect((await server.drs(method, path, options)).status, `${method} ${path}`).toBe(status);
      }
      const known = await server.drs("GET", `/objects/${file.id}/access/${id}`);
      expect([400, 404], `access ${id}`).toContain(known.status);
    }
  }
  expect((await server.drs("GET", `/objects/${"a".repeat(5_000)}`)).status).toBe(400);
});

test("what is no route of DRS is an error of DRS", async () => {
  for (const path of [
    "",
    "/",
    "/objects/",
    "/nothing",
    `/objects/${UNKNOWN}/access`,
    `/objects/${UNKNOWN}/access/`,
    "/../../../api/v1/workspaces",
    "/objects/../service-info",
    "/service-info/",
    "//service-info",
    "/objects/a/b/c/d",
  ]) {
    const answer = await server.drs("GET", path);
    expect([path, answer.status], answer.text).toEqual([path, 404]);
  }
  for (const [method, path, allow] of [
    ["POST", "/service-info", "GET, HEAD"],
    ["OPTIONS", "/service-info", "GET, HEAD"],
    ["GET", "/objects", "POST, OPTIONS"],
    ["DELETE", `/objects/${UNKNOWN}`, "GET, HEAD, POST, OPTIONS"],
    ["PUT", `/objects/${UNKNOWN}/access/https`, "GET, HEAD, POST"],
    ["PATCH", "/objects/access", "POST, GET, HEAD, OPTIONS"],
    ["TRACE", `/objects/${UNKNOWN}`, "GET, HEAD, POST, OPTIONS"],
    ["PROPFIND", "/objects", "POST, OPTIONS"],
  ] as const) {
    const answer = await server.drs(method, path);
    expect([method, path, answer.status, answer.headers.allow]).toEqual([method, path, 405, allow]);
  }
});

test("bodies that are none of DRS' are refused in its words", async () => {
  const { id } = await server.upload("posted", "posted");
  const paths = [
    `/objects/${id}`,
    `/objects/${id}/access/https`,
    "/objects",
    "/objects/access",
    "/objects/register?workspace=test",
  ];
  for (const path of paths) {
    for (const body of [
      "{",
      "",
      "null",
      "[]",
      '"text"',
      '{"expand": "yes", "passports": 5, "bulk_object_ids": {}}',
      '{"__proto__": {}, "passports": "x"}',
      "\u0000",
      `${"[".repeat(100_000)}`,
    ])
      expect((await server.drs("POST", path, { body })).status, `${path} ${body.slice(0, 60)}`).toBe(400);
    expect((await server.drs("POST", path)).status, path).toBe(400);
    for (const type of [
      "text/plain",
      "application/xml",
      "application/x-www-form-urlencoded",
      "multipart/form-data; boundary=x",
      "nonsense",
    ])
      expect((await server.drs("POST", path, { body: "{}", headers: { "content-type": type } })).status, `${path} ${type}`).toBe(
        415,
      );
    const huge = JSON.stringify({ passports: ["x".repeat(2_000_000)], bulk_object_ids: [], bulk_object_access_ids: [] });
    expect((await server.drs("POST", path, { body: huge })).status, path).toBe(413);
  }
  for (const body of [{ bulk_object_ids: [1] }, { bulk_object_ids: [null] }, {}, { passports: [] }])
    expect((await server.drs("POST", "/objects", { body })).status).toBe(400);
});

test("links end, and cannot be changed into others", async () => {
  const [file, other] = [await server.upload("linked", "linked"), await server.upload("other", "other")];
  const { url } = (await server.drs("GET", `/objects/${file.id}/access/https`)).json as { url: string };
  const link = new URL(url);
  const status = async (change: (url: URL) => void) => {
    const changed = new URL(link);
    change(changed);
    return (await fetch(changed)).status;
  };
  expect(await status(() => {})).toBe(200);
  const { searchParams } = link;
  const signature = searchParams.get("signature") as string;
  expect(await status((to) => to.searchParams.set("expires", `${Number(searchParams.get("expires")) + 1}`))).toBe(403);
  expect(
    await status((to) =>
      to.searchParams.set(
        "signature",
        signature.replace(/^./, (c) => (c === "A" ? "B" : "A")),
      ),
    ),
  ).toBe(403);
  expect(await status((to) => to.searchParams.set("signature", signature.slice(0, -2)))).toBe(403);
  expect(await status((to) => to.searchParams.delete("signature"))).toBe(403);
  expect(await status((to) => to.searchParams.delete("expires"))).toBe(403);
  expect(await status((to) => to.searchParams.append("signature", signature))).toBeGreaterThanOrEqual(400);
  expect(
    await status((to) => {
      to.pathname = `/files/${other.id}`;
    }),
  ).toBe(403);
});

test("an object whose bytes storage has lost says so, until they are put again", async () => {
  const file = await server.upload("lost.txt", "lost and found");
  const stored = (await readdir(server.dataDirectory, { recursive: true, withFileTypes: true })).filter(
    (entry) => entry.isFile() && join(entry.parentPath, entry.name).replaceAll("/", "").endsWith(file.sha256.slice(2)),
  );
  expect(stored).toHaveLength(1);
  for (const { parentPath, name } of stored) await rm(join(parentPath, name));
  expect((await sendTo(server.url, "POST", "/api/v1/storage/scrub")).json.damaged).toEqual([file.sha256]);
  expect((await server.drs("GET", `/objects/${file.id}`)).json.access_methods[0].available).toBe(false);
  expect((await server.drs("GET", `/objects/${file.id}/access/https`)).status).toBe(404);
  await server.upload("again.txt", "lost and found");
  expect((await server.drs("GET", `/objects/${file.id}`)).json.access_methods[0].available).toBe(true);
  expect((await server.drs("GET", `/objects/${file.id}/access/https`)).status).toBe(200);
});

test("a page of another origin, and a name that was rebound, learn nothing", async () => {
  const { id } = await server.upload("local", "local");
  const foreign: Record<string, string>[] = [
    { origin: "http://evil.example" },
    { host: "evil.example" },
    { host: `${server.host}@evil.example` },
  ];
  for (const headers of foreign)
    expect((await server.drs("GET", `/objects/${id}`, { headers })).status, JSON.stringify(headers)).toBe(403);
});

test("the routes are in the server's own description", async () => {
  const { json } = await sendTo(server.url, "GET", "/openapi.json");
  const ours = Object.keys(json.paths).filter((path) => path.startsWith(PREFIX));
  expect(ours.sort()).toEqual(
    [
      ...["/objects", "/objects/access", "/objects/checksum/{checksum}", "/objects/register", "/objects/{object_id}"],
      ...["/objects/{object_id}/access/{access_id}", "/service-info"],
    ].map((path) => PREFIX + path),
  );
});
