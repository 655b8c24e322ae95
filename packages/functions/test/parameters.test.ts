import { expect, test } from "vitest";
import { compileParameters } from "../src/parameters/compile.ts";

function refusal(run: () => unknown): { code?: string; message?: string; details?: unknown } {
  try {
    run();
  } catch (error) {
    return error as { code: string; message: string };
  }
  return {};
}

test("arguments that fit pass, and defaults are filled in", () => {
  const { check, names, defaults } = compileParameters("f", {
    name: { type: "string", required: true },
    tags: { type: "array", items: { oneOf: [{ type: "string" }, { type: "integer" }] } },
    address: {
      type: "object",
      properties: { city: { type: "string", required: true }, zip: { type: "string", default: "0000" } },
    },
    count: { type: "integer", default: 3 },
  });
  const input = { name: "a", tags: ["x", 1], address: { city: "Bern" } };
  check(input);
  expect(input).toEqual({ name: "a", tags: ["x", 1], address: { city: "Bern", zip: "0000" }, count: 3 });
  expect(names).toEqual(["name", "tags", "address", "count"]);
  expect(defaults).toEqual({ count: 3 });
});

test.each([
  ["missing", {}, "/name", "is missing"],
  ["of the wrong type", { name: 1 }, "/name", "must be string"],
  ["wrong inside an array", { name: "a", tags: [{}] }, "/tags/0", "must be string"],
  ["missing in a nested object", { name: "a", address: {} }, "/address/city", "is missing"],
  [
    "repeated where they must differ",
    {
      name: "a",
      unique: [
        { a: 1, b: 2 },
        { b: 2, a: 1 },
      ],
    },
    "/unique",
    "must NOT have duplicate items",
  ],
])("arguments that are %s are refused with their place", (_case, input, path, message) => {
  const { check } = compileParameters("f", {
    name: { type: "string", required: true },
    tags: { type: "array", items: { oneOf: [{ type: "string" }, { type: "integer" }] } },
    address: { type: "object", properties: { city: { type: "string", required: true } } },
    unique: { type: "array", uniqueItems: true },
  });
  const error = refusal(() => check(input));
  expect(error.code).toBe("INVALID_PARAMETERS");
  expect(error.details).toMatchObject({ function: "f", errors: expect.arrayContaining([{ path, message }]) });
});

test("a pattern that explodes in a backtracking engine takes no time", () => {
  const { check } = compileParameters("f", { text: { type: "string", pattern: "^(a+)+$" } });
  const started = performance.now();
  expect(refusal(() => check({ text: `${"a".repeat(100_000)}!` })).code).toBe("INVALID_PARAMETERS");
  // A backtracking engine would take longer than the age of the universe; the bound only says that it ended.
  expect(performance.now() - started).toBeLessThan(10_000);
});

test("uniqueItems is checked in linear time", () => {
  const { check } = compileParameters("f", { list: { type: "array", uniqueItems: true } });
  check({ list: Array.from({ length: 100_000 }, (_, index) => ({ index })) });
});

test.each([
  ["a reference to itself", { a: { $ref: "#/properties/a" } }, /circle/],
  ["a circle of references", { a: { $ref: "#/properties/b" }, b: { items: { $ref: "#/properties/a" } } }, /circle/],
  ["a reference elsewhere", { a: { $ref: "http://example.com/schema" } }, /references into itself/],
  ["a reference to nothing", { a: { $ref: "#/properties/zzz" } }, /not there/],
  ["an unknown type", { a: { type: "text" } }, /not valid/],
  ["a pattern that cannot be run in linear time", { a: { pattern: "(?=x)x" } }, /not valid/],
  ["an own base address", { a: { $id: "http://example.com/" } }, /not supported/],
  ["a schema behind a parameter named default", { default: { allOf: [{ $ref: "#/properties/default" }] } }, /circle/],
])("a schema with %s is refused", (_case, parameters, message) => {
  const error = refusal(() => compileParameters("f", parameters));
  expect(error.code).toBe("INVALID_SCHEMA");
  expect(error.message).toMatch(message);
});

test("a schema that doubles with every reference is refused before it is compiled", () => {
  const parameters: Record<string, unknown> = { p0: { type: "string" } };
  for (let level = 1; level <= 40; level++) {
    const below = { $ref: `#/properties/p${level - 1}` };
    parameters[`p${level}`] = { allOf: [below, below] };
  }
  expect(refusal(() => compileParameters("f", parameters)).code).toBe("INVALID_SCHEMA");
});

test("a schema nested without end is refused", () => {
  let schema: Record<string, unknown> = { type: "string" };
  for (let level = 0; level < 5_000; level++) schema = { not: schema };
  expect(refusal(() => compileParameters("f", { a: schema })).code).toBe("INVALID_SCHEMA");
});

test("names of Object.prototype are ordinary parameter names", () => {
  const { check } = compileParameters(
    "f",
    JSON.parse('{"constructor":{"type":"string"},"__proto__":{"type":"string"},"toString":{"type":"integer"}}'),
  );
  check({});
  expect(refusal(() => check({ constructor: 1 })).code).toBe("INVALID_PARAMETERS");
});
