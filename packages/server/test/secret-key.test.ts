import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openSecretKey } from "../src/security/secret-key.ts";
import { readSettings } from "../src/settings/settings.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "treadle-key-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const linkKey = (given: Buffer | null = null) => openSecretKey(given, directory).derive("link signatures").toString("hex");

test("a key is made once, for its owner alone, and found again", () => {
  const first = linkKey();
  expect(linkKey()).toBe(first);
  expect(readdirSync(directory)).toEqual(["secret.key"]);
  expect(statSync(join(directory, "secret.key")).mode & 0o777).toBe(0o600);
  expect(first).toMatch(/^[0-9a-f]{64}$/);
  const kept = Buffer.from(readFileSync(join(directory, "secret.key"), "latin1"), "base64");
  expect(kept).toHaveLength(32);
  expect(kept.toString("hex")).not.toBe(first);
  expect(linkKey(kept)).toBe(first);
});

test("a given key is used, and no file is made", () => {
  const hex = "0123456789abcdef".repeat(4);
  const fromHex = readSettings({ TREADLE_SECRET_KEY: hex }).secretKey;
  const fromBase64 = readSettings({ TREADLE_SECRET_KEY: Buffer.from(hex, "hex").toString("base64") }).secretKey;
  expect(fromHex).toEqual(fromBase64);
  expect(linkKey(fromHex)).toBe(linkKey(fromBase64));
  expect(readdirSync(directory)).toEqual([]);
});

test.each(["short", "0".repeat(63), "g".repeat(64), `${"A".repeat(42)}==`, Buffer.alloc(31).toString("base64")])(
  "%s is no key, and is not repeated in the message",
  (text) => {
    expect(() => readSettings({ TREADLE_SECRET_KEY: text })).toThrow(
      expect.objectContaining({ code: "INVALID_SETTING", message: expect.not.stringContaining(text) }),
    );
  },
);

test.each([0o640, 0o604, 0o644])("a key file of mode %o is refused", (mode) => {
  linkKey();
  chmodSync(join(directory, "secret.key"), mode);
  expect(() => linkKey()).toThrow(
    expect.objectContaining({ code: "INVALID_SETTING", message: expect.stringContaining("chmod 600") }),
  );
});

test.each(["", "x", Buffer.alloc(16).toString("base64")])("a key file that holds %j is refused, not replaced", (text) => {
  writeFileSync(join(directory, "secret.key"), text, { mode: 0o600 });
  expect(() => linkKey()).toThrow(expect.objectContaining({ code: "INVALID_SETTING" }));
  expect(readFileSync(join(directory, "secret.key"), "latin1")).toBe(text);
});
