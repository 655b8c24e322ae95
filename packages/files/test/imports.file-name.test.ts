import { expect, test } from "vitest";
import { cleanFileName, mediaType, nameInAddress, nameInDisposition } from "../src/imports/file-name.ts";

test.each([
  ["attachment; filename=a.csv", "a.csv"],
  ['attachment; filename="a b;c.csv"', "a b;c.csv"],
  ['attachment; filename="a\\"b.csv"', 'a"b.csv'],
  ["attachment; filename*=UTF-8''%e2%82%ac.txt; filename=plain.txt", "€.txt"],
  ["attachment; filename*=iso-8859-1'en'%A3.txt", "£.txt"],
  ["attachment; filename*=UTF-8''%ff.txt; filename=plain.txt", "plain.txt"],
  ['attachment; filename="../../etc/passwd"', "passwd"],
  ['attachment; filename="..\\\\..\\\\boot.ini"', "boot.ini"],
  ["attachment; filename*=UTF-8''..%2F..%2Fx%00y.sh", "xy.sh"],
  ["attachment; filename*=UTF-8''gpj.%E2%80%AEexe", "gpj.exe"],
  [`attachment; filename="${Buffer.from("é.txt").toString("latin1")}"`, "é.txt"],
  ["attachment; filename=..", null],
  ["attachment", null],
  ["inline; filename=", null],
])("%s", (header, name) => {
  expect(nameInDisposition(header)).toBe(name);
});

test("names of addresses and of strangers are cut to what may be stored", () => {
  expect(nameInAddress(new URL("https://h/a/b%20c.txt?x=1"))).toBe("b c.txt");
  expect(nameInAddress(new URL("https://h/a/"))).toBeNull();
  expect(nameInAddress(new URL("https://h/%ff"))).toBe("%ff");
  expect(nameInAddress(new URL("https://h/a%2f..%2fb"))).toBe("b");
  expect(cleanFileName(`${"x".repeat(400)}.tar.gz`)).toBe(`${"x".repeat(248)}.tar.gz`);
  expect(cleanFileName(`${"𝒳".repeat(300)}.gz`)?.isWellFormed()).toBe(true);
  expect(cleanFileName("\ud800")).toBe("\ufffd");
  expect(mediaType("Text/CSV; charset=x")).toBe("text/csv");
  for (const type of ["application/octet-stream", "x", "a/b/c", "a/\u0000", undefined, 1]) expect(mediaType(type)).toBeNull();
});
