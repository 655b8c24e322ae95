import { afterAll, beforeAll, expect, test } from "vitest";
import { type DrsServer, startDrsServer } from "./drs-server.ts";

// Answers of this server are held to have nothing that DRS 1.2 does not know: see checkDrsAnswer.
let server: DrsServer;
beforeAll(async () => {
  server = await startDrsServer({
    TREADLE_DRS_PROFILE: "1.2",
    TREADLE_PUBLIC_URL: "https://data.example:8443",
    TREADLE_DRS_SERVICE_ID: "example.data",
    TREADLE_ORGANIZATION_NAME: "Example Institute",
    TREADLE_ORGANIZATION_URL: "https://example.com/about",
  });
});
afterAll(() => server?.[Symbol.asyncDispose]());

test("service-info is that of 1.2, with what the settings say", async () => {
  const { json } = await server.drs("GET", "/service-info");
  expect(json).toEqual({
    id: "example.data",
    name: "Treadle",
    type: { group: "org.ga4gh", artifact: "drs", version: "1.2.0" },
    description: expect.any(String),
    organization: { name: "Example Institute", url: "https://example.com/about" },
    version: expect.any(String),
  });
});

test("files, bundles and access have no later members", async () => {
  const file = await server.upload("a.txt", "aaa");
  const { json } = await server.drs("GET", `/objects/${file.id}`);
  expect(json.self_uri).toBe(`drs://data.example:8443/${file.id}`);
  expect(json.access_methods).toEqual([{ type: "https", access_id: "https" }]);
  expect((await server.drs("POST", `/objects/${file.id}`, { body: { passports: ["x"] } })).json).toEqual(json);
  const access = await server.drs("GET", `/objects/${file.id}/access/https`);
  expect(new URL(access.json.url).origin).toBe("https://data.example:8443");
  expect((await server.drs("POST", `/objects/${file.id}/access/https`, { body: {} })).status).toBe(200);
  const bundle = await server.bundle("b", { "a.txt": { file: file.id } });
  expect((await server.drs("GET", `/objects/${bundle}?expand=True`)).json.contents).toEqual([
    { name: "a.txt", id: file.id, drs_uri: [json.self_uri] },
  ]);
});

test("routes of later versions are not there", async () => {
  const { id } = await server.upload("b.txt", "b");
  const options = await server.drs("OPTIONS", `/objects/${id}`);
  expect([options.status, options.headers.allow]).toEqual([405, "GET, HEAD, POST"]);
  for (const [method, path] of [
    ["POST", "/objects"],
    ["OPTIONS", "/objects"],
  ] as const)
    expect((await server.drs(method, path, { body: { bulk_object_ids: [id] } })).status, `${method} ${path}`).toBe(404);
  // There it is the object of the id "access".
  expect((await server.drs("POST", "/objects/access", { body: { bulk_object_access_ids: [] } })).status).toBe(404);
});
