import { expect, test } from "vitest";
import { AdminKey, adminKeyOf } from "../src/security/admin-key.ts";
import { createGuard } from "../src/security/guard.ts";
import { readSettings } from "../src/settings/settings.ts";

const KEY = "k".repeat(40);

test.each(["localhost:4000", "localhost", "127.0.0.1:4000", "127.8.9.1", "[::1]:4000", "LOCALHOST:80", "dev.localhost:4000"])(
  "without a key, host %s is local",
  (host) => {
    expect(() => createGuard(null).check("POST", "/v2/functions/a", { host })).not.toThrow();
  },
);

test.each([
  undefined,
  "",
  "evil.example",
  "localhost.evil.example:4000",
  "127.0.0.1.evil.example",
  "169.254.169.254",
  "[::2]:4000",
  "localhost@evil.example",
])("without a key, host %s is foreign", (host) => {
  expect(() => createGuard(null).check("GET", "/health", host === undefined ? {} : { host })).toThrow(
    expect.objectContaining({ code: "FOREIGN_HOST" }),
  );
});

test.each([
  ["POST", { origin: "http://evil.example" }],
  ["POST", { origin: "null" }],
  ["POST", { origin: "http://localhost:9999" }],
  ["POST", { "sec-fetch-site": "cross-site" }],
  ["GET", { "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" }],
  ["DELETE", { "sec-fetch-site": "same-site", "sec-fetch-mode": "navigate" }],
])("%s from another origin is refused: %o", (method, headers) => {
  expect(() => createGuard(null).check(method, "/", { host: "localhost:4000", ...headers })).toThrow(
    expect.objectContaining({ code: "CROSS_ORIGIN" }),
  );
});

test("own pages and links to them are served", () => {
  const guard = createGuard(null);
  guard.check("POST", "/", { host: "localhost:4000", origin: "http://localhost:4000", "sec-fetch-site": "same-origin" });
  guard.check("GET", "/docs", { host: "localhost:4000", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" });
});

test("with a key, every route but health and readiness needs it, and hosts do not matter", () => {
  const guard = createGuard(new AdminKey(KEY));
  guard.check("GET", "/health", { host: "example.com" });
  guard.check("GET", "/api/v1/workspaces", { host: "example.com", authorization: `Bearer ${KEY}` });
  for (const authorization of [undefined, "", "Bearer", `Bearer ${KEY}x`, `Bearer ${KEY.slice(1)}`, `Basic ${KEY}`, KEY]) {
    expect(() => guard.check("GET", "/api/v1/workspaces", authorization === undefined ? {} : { authorization })).toThrow(
      expect.objectContaining({ code: "UNAUTHORIZED" }),
    );
  }
});

test("listening for others needs a key of some length", () => {
  expect(adminKeyOf(readSettings({}))).toBeNull();
  expect(() => adminKeyOf(readSettings({ TREADLE_HOST: "0.0.0.0" }))).toThrow(
    expect.objectContaining({ code: "INVALID_SETTING" }),
  );
  expect(() => adminKeyOf(readSettings({ TREADLE_ADMIN_KEY: "short" }))).toThrow(
    expect.objectContaining({ code: "INVALID_SETTING" }),
  );
  expect(adminKeyOf(readSettings({ TREADLE_HOST: "0.0.0.0", TREADLE_ADMIN_KEY: KEY }))).not.toBeNull();
});

test("routes that check themselves pass without a key, and can ask whether it is there; their neighbours do not pass", () => {
  const guard = createGuard(new AdminKey(KEY));
  guard.check("GET", "/files/x", { host: "example.com" });
  guard.check("GET", "/ga4gh/drs/v1/objects/x", { host: "example.com" });
  expect(guard.authorized({})).toBe(false);
  expect(guard.authorized({ authorization: `Bearer ${KEY}x` })).toBe(false);
  expect(guard.authorized({ authorization: `Bearer ${KEY}` })).toBe(true);
  expect(createGuard(null).authorized({})).toBe(true);
  for (const path of [
    "/files",
    "/filesx",
    "/Files/x",
    "/%66iles/x",
    "//files/x",
    "/ga4gh/drs/v1x",
    "/ga4gh/drs",
    "/api/v1/files/x",
  ]) {
    expect(() => guard.check("GET", path, { host: "example.com" }), path).toThrow(
      expect.objectContaining({ code: "UNAUTHORIZED" }),
    );
  }
});

test("routes that check themselves are still closed to other hosts and origins where there is no key", () => {
  const guard = createGuard(null);
  expect(() => guard.check("GET", "/files/x", { host: "evil.example" })).toThrow(
    expect.objectContaining({ code: "FOREIGN_HOST" }),
  );
  expect(() => guard.check("POST", "/ga4gh/drs/v1/objects", { host: "localhost", origin: "http://evil.example" })).toThrow(
    expect.objectContaining({ code: "CROSS_ORIGIN" }),
  );
});
