import type { ServerResponse } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type DrsServer, KEY, PREFIX, sha256, startDrsServer, type TestFile } from "./drs-server.ts";
import { type Origin, startOrigin } from "./origin.ts";
import { sendTo } from "./send.ts";

const UNKNOWN = "01999999-9999-7999-8999-999999999999";
const WRONG: readonly Readonly<Record<string, string>>[] = [
  {},
  { authorization: "" },
  { authorization: "Bearer" },
  { authorization: `Bearer ${KEY}x` },
  { authorization: `Bearer ${KEY.slice(1)}` },
  { authorization: `Basic ${Buffer.from(`admin:${KEY}`).toString("base64")}` },
  { authorization: KEY },
];

// A server for others: what is not public needs the key.
let origin: Origin;
let server: DrsServer;
let hidden: TestFile;
let open: TestFile;
beforeAll(async () => {
  origin = await startOrigin();
  server = await startDrsServer({
    TREADLE_ADMIN_KEY: KEY,
    TREADLE_LINK_EXPIRY: "1",
    TREADLE_IMPORT_TRUSTED: origin.host,
  });
  hidden = await server.upload("hidden.txt", "nobody's business");
  open = await server.upload("open.txt", "for everybody", "&public=true");
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await origin?.[Symbol.asyncDispose]();
});

test("what is private and what does not exist are the same to those without a right key", async () => {
  const bundle = await server.bundle("hidden", { file: { file: hidden.id } });
  for (const headers of WRONG) {
    for (const [method, path, body] of [
      ["GET", "/objects/ID"],
      ["HEAD", "/objects/ID"],
      ["GET", "/objects/ID?expand=true"],
      ["POST", "/objects/ID", { passports: ["eyJhbGciOiJub25lIn0.e30."] }],
      ["GET", "/objects/ID/access/https"],
      ["GET", "/objects/ID/access/other"],
      ["POST", "/objects/ID/access/https", { passports: ["eyJhbGciOiJub25lIn0.e30."] }],
      ["OPTIONS", "/objects/ID"],
    ] as const) {
      const answers = [];
      for (const id of [hidden.id, bundle, UNKNOWN, "no-uuid"]) {
        const answer = await server.drs(method, path.replace("ID", id), { headers, ...(body === undefined ? {} : { body }) });
        const { date: _date, ...rest } = answer.headers;
        answers.push(
          JSON.stringify([answer.status, rest, answer.text])
            .replaceAll(id, "ID")
            .replace(/"content-length":"\d+"/, ""),
        );
      }
      expect(new Set(answers).size, `${method} ${path} ${answers.join("\n")}`).toBe(1);
      expect(answers[0]).toContain(method === "OPTIONS" ? "BearerAuth" : "401");
    }
    const ids = [hidden.id, UNKNOWN, open.id, bundle];
    const bulk = await server.drs("POST", "/objects", { headers, body: { bulk_object_ids: ids } });
    expect(bulk.json.unresolved_drs_objects).toEqual([{ error_code: 401, object_ids: [hidden.id, UNKNOWN, bundle] }]);
    const access = await server.drs("POST", "/objects/access", {
      headers,
      body: { bulk_object_access_ids: ids.map((id) => ({ bulk_object_id: id, bulk_access_ids: ["https"] })) },
    });
    expect(access.json.unresolved_drs_objects).toEqual([{ error_code: 401, object_ids: [hidden.id, UNKNOWN, bundle] }]);
    expect((await server.drs("GET", `/objects/checksum/${hidden.sha256}`, { headers })).status).toBe(401);
    expect((await server.drs("GET", `/objects/checksum/${"0".repeat(64)}`, { headers })).status).toBe(401);
    expect(
      (await server.drs("POST", "/objects/register?workspace=test", { headers, body: { candidates: [candidate("x", "x")] } }))
        .status,
    ).toBe(401);
  }
});

test("the key opens what is private", async () => {
  const { json } = await server.withKey("GET", `/objects/${hidden.id}`);
  expect(json.access_methods).toEqual([
    { type: "https", access_id: "https", available: true, authorizations: { supported_types: ["BearerAuth"] } },
  ]);
  const access = await server.withKey("GET", `/objects/${hidden.id}/access/https`);
  expect(await (await fetch(access.json.url)).text()).toBe("nobody's business");
  expect((await server.withKey("GET", `/objects/${UNKNOWN}`)).status).toBe(404);
  expect((await server.withKey("OPTIONS", `/objects/${UNKNOWN}`)).status).toBe(404);
  expect((await server.withKey("OPTIONS", `/objects/${hidden.id}`)).json.supported_types).toEqual(["BearerAuth"]);
});

test("what is public needs no key, and becomes private again", async () => {
  for (const headers of WRONG) {
    expect((await server.drs("GET", `/objects/${open.id}`, { headers })).json.access_methods[0].authorizations).toEqual({
      supported_types: ["None"],
    });
    const access = await server.drs("GET", `/objects/${open.id}/access/https`, { headers });
    expect(await (await fetch(access.json.url)).text()).toBe("for everybody");
    expect((await server.drs("GET", "/service-info", { headers })).status).toBe(200);
  }
  expect((await server.drs("OPTIONS", "/objects", { body: { bulk_object_ids: [open.id, hidden.id, UNKNOWN] } })).json).toEqual({
    summary: { requested: 3, resolved: 3, unresolved: 0 },
    unresolved_drs_objects: [],
    resolved_drs_object: [
      { drs_object_id: open.id, supported_types: ["None"] },
      { drs_object_id: hidden.id, supported_types: ["BearerAuth"] },
      { drs_object_id: UNKNOWN, supported_types: ["BearerAuth"] },
    ],
  });
  const bundle = await server.bundle("open", { file: { file: open.id } }, { public: true });
  expect((await server.drs("GET", `/objects/${bundle}?expand=true`)).json.contents).toMatchObject([{ id: open.id }]);
  expect((await server.drs("GET", `/objects/checksum/${open.sha256}`)).json.resolved_drs_object).toMatchObject([{ id: open.id }]);

  const brief = await server.upload("brief.txt", "briefly public", "&public=true");
  expect((await server.drs("GET", `/objects/${brief.id}`)).status).toBe(200);
  expect((await server.api("PATCH", `/files/${brief.id}`, { public: false })).status).toBe(200);
  expect((await server.drs("GET", `/objects/${brief.id}`)).status).toBe(401);
});

test("a public bundle of what is private is not made", async () => {
  const contents = [{ name: "file", file: hidden.id }];
  const answer = await server.api("POST", "/bundles", { name: "leak", public: true, contents });
  expect([answer.status, answer.json.error.code]).toEqual([400, "BAD_REQUEST"]);
});

test("a link works for its time and not after", async () => {
  const { url } = (await server.withKey("GET", `/objects/${hidden.id}/access/https`)).json as { url: string };
  expect((await fetch(url)).status).toBe(200);
  await expect.poll(async () => (await fetch(url)).status, { timeout: 5_000, interval: 200 }).toBe(403);
});

test("objects are found by their sha256", async () => {
  const twin = await server.upload("twin.txt", hidden.bytes);
  const found = await server.withKey("GET", `/objects/checksum/${hidden.sha256.toUpperCase()}`);
  expect(found.json.resolved_drs_object.map(({ id }: { id: string }) => id)).toEqual([hidden.id, twin.id]);
  const bundle = await server.bundle("two", { a: { file: hidden.id }, b: { file: twin.id } });
  const { checksums } = (await server.withKey("GET", `/objects/${bundle}`)).json;
  expect((await server.withKey("GET", `/objects/checksum/${checksums[0].checksum}`)).json.resolved_drs_object).toMatchObject([
    { id: bundle },
  ]);
  expect((await server.withKey("GET", `/objects/checksum/${"0".repeat(64)}`)).status).toBe(404);
  for (const bad of ["d41d8cd98f00b204e9800998ecf8427e", "x", "..%2f..", `${hidden.sha256}0`])
    expect((await server.withKey("GET", `/objects/checksum/${bad}`)).status, bad).toBe(400);
});

function candidate(name: string, bytes: string, url = "", more: object = {}) {
  return {
    name,
    size: bytes.length,
    checksums: [{ type: "sha-256", checksum: sha256(bytes) }],
    access_methods: [{ type: "https", access_url: { url } }],
    ...more,
  };
}

const register = (...candidates: object[]) =>
  server.withKey("POST", "/objects/register?workspace=test", { body: { candidates } });

test("files that stay where they are, and bundles of them, are registered", async () => {
  origin.pages.set("/far.txt", Buffer.from("far away"));
  const far = `${origin.url}/far.txt`;
  const answer = await register(candidate("far.txt", "far away", far, { mime_type: "text/plain", description: "elsewhere" }));
  expect(answer.status, answer.text).toBe(201);
  const [object] = answer.json.objects;
  expect(object).toMatchObject({ name: "far.txt", size: 8, mime_type: "text/plain", description: "elsewhere" });
  const { url } = (await server.withKey("GET", `/objects/${object.id}/access/https`)).json;
  expect(url.startsWith(server.url)).toBe(true);
  expect(await (await fetch(url)).text()).toBe("far away");

  const digest = sha256(sha256("far away"));
  const whole = {
    name: "group",
    size: 8,
    checksums: [{ type: "sha-256", checksum: digest }],
    contents: [{ name: "far", id: object.id }],
  };
  const bundle = await register(whole);
  expect(bundle.status, bundle.text).toBe(201);
  expect(bundle.json.objects[0]).toMatchObject({ name: "group", size: 8, contents: [{ name: "far", id: object.id }] });
  expect((await register({ ...whole, size: 9 })).status).toBe(422);
  expect((await register({ ...whole, checksums: candidate("x", "x").checksums })).status).toBe(422);
  expect((await register({ ...whole, contents: [{ name: "far", id: UNKNOWN }] })).status).toBe(400);
  expect((await register({ ...whole, contents: [{ name: "../far", id: object.id }] })).status).toBe(400);
  expect((await register({ ...whole, contents: [] })).status).toBe(400);
});

test("lies about size and checksum, and addresses that lead nowhere, are refused, and nothing stays", async () => {
  const { files } = (await server.api("GET", "/usage")).json;
  origin.pages.set("/true.txt", Buffer.from("the truth"));
  origin.pages.set("/endless", (response: ServerResponse) => {
    const more = () => {
      while (response.write(Buffer.alloc(65_536)));
    };
    response.writeHead(200).on("drain", more);
    more();
  });
  origin.pages.set("/moved", (response: ServerResponse) =>
    response.writeHead(302, { location: "http://169.254.169.254/" }).end(),
  );
  const at = (path: string) => `${origin.url}${path}`;
  const right = candidate("true.txt", "the truth", at("/true.txt"));
  for (const [lie, statuses] of [
    [candidate("x", "a lie...!", at("/true.txt")), [422]],
    [{ ...right, size: 8 }, [422]],
    [{ ...right, size: 10 }, [422]],
    [candidate("x", "short", at("/endless")), [422]],
    [candidate("x", "x", at("/missing")), [424]],
    [candidate("x", "x", at("/moved")), [424]],
    [candidate("x", "x", "http://127.0.0.1:1/"), [424]],
    [candidate("x", "x", "http://169.254.169.254/latest/meta-data"), [424]],
    [candidate("x", "x", "file:///etc/passwd"), [400]],
    [candidate("x", "x", "not an address"), [400]],
    [{ ...right, access_methods: [{ type: "s3", access_url: { url: "s3://bucket/key" } }] }, [400]],
    [{ ...right, access_methods: [] }, [400]],
    [{ ...right, checksums: [{ type: "md5", checksum: "d41d8cd98f00b204e9800998ecf8427e" }] }, [400]],
    [{ ...right, checksums: [{ type: "sha-256", checksum: "zz" }] }, [400]],
    [{ ...right, checksums: [] }, [400]],
    [{ ...right, size: -1 }, [400]],
    [{ ...right, size: 1.5 }, [400]],
    [{ ...right, name: "../escape" }, [400]],
    [{ ...right, name: "a\0b" }, [400]],
  ] as const) {
    // The good one before it goes, too.
    const answer = await register(right, lie);
    expect(statuses, `${JSON.stringify(lie)} ${answer.text}`).toContain(answer.status);
  }
  expect((await register(...Array.from({ length: 101 }, () => right))).status).toBe(413);
  expect((await server.withKey("POST", "/objects/register", { body: { candidates: [right] } })).status).toBe(400);
  expect((await server.api("GET", "/usage")).json.files).toBe(files);
});

test("an object that is on its way is asked for again", async () => {
  let finish = () => {};
  origin.pages.set("/slow", (response: ServerResponse) => {
    response.writeHead(200, { "content-length": "8" }).write("slow");
    finish = () => response.end("down");
  });
  const started = await server.api("POST", "/imports", { url: `${origin.url}/slow` });
  expect(started.status, started.text).toBeLessThan(300);
  const { fileId } = started.json;
  for (const path of [`/objects/${fileId}`, `/objects/${fileId}/access/https`]) {
    expect((await server.withKey("GET", path)).status, path).toBe(202);
    expect((await server.withKey("POST", path, { body: {} })).status, path).toBe(202);
    expect((await server.withKey("HEAD", path)).status, path).toBe(202);
    expect((await server.drs("GET", path)).status, path).toBe(401);
  }
  const bulk = await server.withKey("POST", "/objects", { body: { bulk_object_ids: [fileId, hidden.id] } });
  expect(bulk.json.unresolved_drs_objects).toEqual([{ error_code: 202, object_ids: [fileId] }]);
  finish();
  await expect.poll(async () => (await server.withKey("GET", `/objects/${fileId}`)).status, { timeout: 10_000 }).toBe(200);
});

test("a Host that is none does not become part of an answer", async () => {
  for (const host of ["evil.example/x", "a b", "a@b", 'a"b', "-", "a:b", "a:99999999", "[::1", "<script>"])
    expect((await server.withKey("GET", `/objects/${hidden.id}`, { headers: { host } })).status, host).toBe(400);
  const named = await server.withKey("GET", `/objects/${hidden.id}`, { headers: { host: "data.example:8443" } });
  expect(named.json.self_uri).toBe(`drs://data.example:8443/${hidden.id}`);
});

test("bytes and objects are brought by drs:// from one server into another", async () => {
  await using second = await startDrsServer({ TREADLE_IMPORT_TRUSTED: `${server.host},${new URL(server.url).host}` });
  const started = await second.api("POST", "/imports", { url: `drs://${server.host}/${open.id}` });
  expect(started.status, started.text).toBeLessThan(300);
  await expect
    .poll(async () => (await second.api("GET", `/imports/${started.json.id}`)).json.state, { timeout: 15_000 })
    .toBe("succeeded");
  const { json } = await second.drs("GET", `/objects/${started.json.fileId}`);
  expect(json).toMatchObject({ name: "open.txt", checksums: [{ checksum: open.sha256 }] });
  // What is private there stays there.
  const refused = await second.api("POST", "/imports", { url: `drs://${server.host}/${hidden.id}` });
  await expect
    .poll(async () => (await second.api("GET", `/imports/${refused.json.id}`)).json.state, { timeout: 15_000 })
    .toBe("failed");
  expect((await sendTo(second.url, "GET", `${PREFIX}/objects/${refused.json.fileId}`)).status).toBe(404);
});
