import { expect, test } from "vitest";
import { checkDrsAnswer } from "./drs-spec.ts";
import type { DrsAnswer } from "./send.ts";

const ID = "01999999-9999-7999-8999-999999999999";
const OBJECT = {
  id: ID,
  name: "a.txt",
  self_uri: `drs://localhost/${ID}`,
  size: 1,
  created_time: "2026-01-01T00:00:00.000Z",
  checksums: [{ type: "sha-256", checksum: "0".repeat(64) }],
  access_methods: [{ type: "https", access_id: "https" }],
};
const { checksums: _checksums, ...WITHOUT_CHECKSUM } = OBJECT;
const SUMMARY = { requested: 1, resolved: 1, unresolved: 0 };

function answer(method: string, path: string, status: number, json?: unknown, headers: DrsAnswer["headers"] = {}): DrsAnswer {
  const text = json === undefined ? "" : JSON.stringify(json);
  return {
    method,
    path: `/ga4gh/drs/v1${path}`,
    status,
    headers: { "content-type": "application/json", ...headers },
    text,
    json,
  };
}

// What all other tests rely on: that the check can fail.
test.each([
  answer("GET", `/objects/${ID}`, 200, OBJECT),
  answer("HEAD", `/objects/${ID}`, 200),
  answer("GET", `/objects/${ID}`, 202, undefined, { "retry-after": "5" }),
  answer("GET", `/objects/${ID}`, 404, { msg: "none", status_code: 404 }),
  answer("GET", `/objects/${ID}`, 401, { msg: "no", status_code: 401 }, { "www-authenticate": "Bearer" }),
  answer("POST", "/objects", 200, { summary: SUMMARY, unresolved_drs_objects: [], resolved_drs_object: [OBJECT] }),
])("$method $path $status as it should be is accepted", (right) => {
  checkDrsAnswer(right);
});

test.each([
  ["no checksum", answer("GET", `/objects/${ID}`, 200, WITHOUT_CHECKSUM)],
  ["empty checksums", answer("GET", `/objects/${ID}`, 200, { ...OBJECT, checksums: [] })],
  ["size as text", answer("GET", `/objects/${ID}`, 200, { ...OBJECT, size: "1" })],
  ["no time", answer("GET", `/objects/${ID}`, 200, { ...OBJECT, created_time: "yesterday" })],
  [
    "unknown access type",
    answer("GET", `/objects/${ID}`, 200, { ...OBJECT, access_methods: [{ type: "http", access_id: "x" }] }),
  ],
  ["no way to the bytes", answer("GET", `/objects/${ID}`, 200, { ...OBJECT, access_methods: undefined })],
  ["another id in the uri", answer("GET", `/objects/${ID}`, 200, { ...OBJECT, self_uri: "drs://localhost/other" })],
  ["a name that is not portable", answer("GET", `/objects/${ID}`, 200, { ...OBJECT, name: "a b" })],
  ["address as bare text", answer("GET", `/objects/${ID}/access/https`, 200, "http://localhost/")],
  ["object for address", answer("GET", `/objects/${ID}/access/https`, 200, OBJECT)],
  ["no Retry-After", answer("GET", `/objects/${ID}`, 202)],
  ["Retry-After as a date", answer("GET", `/objects/${ID}`, 202, undefined, { "retry-after": "Fri, 31 Dec 1999 23:59:59 GMT" })],
  ["error of another form", answer("GET", `/objects/${ID}`, 404, { error: { code: "UNKNOWN_FILE" } })],
  ["other status in the error", answer("GET", `/objects/${ID}`, 404, { msg: "none", status_code: 400 })],
  ["error as text", answer("GET", `/objects/${ID}`, 404, undefined, { "content-type": "text/plain" })],
  ["status that is not documented", answer("GET", `/objects/${ID}`, 409, { msg: "no", status_code: 409 })],
  ["success that is not documented", answer("GET", `/objects/${ID}`, 201, OBJECT)],
  ["5xx", answer("GET", `/objects/${ID}`, 500, { msg: "no", status_code: 500 })],
  ["401 without challenge", answer("GET", `/objects/${ID}`, 401, { msg: "no", status_code: 401 })],
  ["405 without Allow", answer("PUT", `/objects/${ID}`, 405, { msg: "no", status_code: 405 })],
  [
    "sum that is not one",
    answer("POST", "/objects", 200, { summary: SUMMARY, unresolved_drs_objects: [], resolved_drs_object: [] }),
  ],
  ["answer on no route", answer("GET", "/nothing", 200, {})],
])("%s is refused", (_what, wrong) => {
  expect(() => checkDrsAnswer(wrong)).toThrow();
});

test("what 1.2 does not know is refused in its profile", () => {
  checkDrsAnswer(answer("GET", `/objects/${ID}`, 200, OBJECT), "1.2");
  const later = { ...OBJECT, access_methods: [{ type: "https", access_id: "https", available: true }] };
  expect(() => checkDrsAnswer(answer("GET", `/objects/${ID}`, 200, later), "1.2")).toThrow();
});
