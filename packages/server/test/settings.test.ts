import { expect, test } from "vitest";
import { functionsSettings } from "../src/settings/functions-settings.ts";
import { readSettings, SETTINGS } from "../src/settings/settings.ts";

test("the defaults are those of the functions service it replaces", () => {
  const settings = readSettings({});
  expect(settings).toMatchObject({
    port: 4000,
    host: "127.0.0.1",
    dataDirectory: "data/functions/",
    nodeTimeoutMs: 20_000,
    pythonTimeoutMs: 20_000,
    maxInstances: 500,
    nodeBuiltinModules: ["http", "https", "url", "util", "zlib", "dns", "stream", "buffer", "crypto"],
    heapMegabytes: 100,
    idleSeconds: 3600,
    updateScripts: false,
    requestMaxBytes: 1024 * 1024,
  });
  expect(functionsSettings(settings)).toMatchObject({
    heapBytes: 100 * 1024 * 1024,
    memoryBytes: 256 * 1024 * 1024,
    idleMs: 3_600_000,
  });
});

test("a flag beats the environment, which beats the default", () => {
  expect(readSettings({ PORT: "5000" }).port).toBe(5000);
  expect(readSettings({ PORT: "5000" }, { port: "6000" }).port).toBe(6000);
});

test("flags and variables are each used once", () => {
  const all = Object.values(SETTINGS);
  expect(new Set(all.map((each) => each.flag)).size).toBe(all.length);
  expect(new Set(all.map((each) => each.environment)).size).toBe(all.length);
});

test.each([
  ["PORT", "70000"],
  ["PORT", "-1"],
  ["PORT", "4e3"],
  ["FUNCTIONS_RUN_TIMEOUT", "0"],
  ["REQUEST_MAX_SIZE", "huge"],
  ["TREADLE_SANDBOX", "vm2"],
  ["TREADLE_CPUS", "0"],
  ["UPDATE_SCRIPTS_ON_STARTUP", "perhaps"],
  ["TREADLE_FILES_QUOTA", "unlimited"],
  ["TREADLE_FILE_MAX_SIZE", "0"],
  ["TREADLE_FILE_MAX_SIZE", "999999999999tb"],
  ["TREADLE_LINK_EXPIRY", "604801"],
  ["TREADLE_UPLOAD_EXPIRY", "0"],
  ["TREADLE_DRS_PROFILE", "1.1"],
  ["TREADLE_PUBLIC_URL", "treadle.example"],
  ["TREADLE_PUBLIC_URL", "https://treadle.example/path"],
  ["TREADLE_PUBLIC_URL", "https://user@treadle.example"],
  ["TREADLE_PUBLIC_URL", "ftp://treadle.example"],
])("%s=%s is refused by name", (name, value) => {
  expect(() => readSettings({ [name]: value })).toThrow(
    expect.objectContaining({ code: "INVALID_SETTING", message: expect.stringContaining(name) }),
  );
});

test.each([
  ["1mb", 1_048_576],
  ["512kb", 524_288],
  ["1000", 1000],
])("sizes are read as body-parser reads them: %s", (text, bytes) => {
  expect(readSettings({ REQUEST_MAX_SIZE: text }).requestMaxBytes).toBe(bytes);
});

test("what files may take, and where others reach the server", () => {
  expect(readSettings({})).toMatchObject({
    storageUrl: null,
    filesQuota: 100 * 1024 ** 3,
    fileMaxBytes: 50 * 1024 ** 3,
    linkSeconds: 900,
    publicUrl: null,
    secretKey: null,
  });
  expect(readSettings({ TREADLE_FILES_QUOTA: "none" }).filesQuota).toBeNull();
  expect(readSettings({ TREADLE_PUBLIC_URL: "https://Treadle.example:443/" }).publicUrl).toBe("https://treadle.example");
});
