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

test.each([
  [
    "choices that fail for every item",
    { type: "array", items: { anyOf: [...failing(40), { type: "number" }] } },
    numbers(500_000),
  ],
  [
    "the same through a reference",
    { $defs: { d: { anyOf: [...failing(30), { type: "number" }] } }, type: "array", items: { $ref: "#/properties/x/$defs/d" } },
    numbers(500_000),
  ],
  [
    "patterns for every property's name",
    { patternProperties: Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`^a{${i % 50}}.*b${i}$`, {}])) },
    Object.fromEntries(numbers(50_000).map((_, i) => [`aaaa${i}`, 1])),
  ],
  [
    "a long text, often",
    { anyOf: Array.from({ length: 300 }, (_, i) => ({ pattern: `x{${i % 100}}y$` })) },
    "a".repeat(1_000_000),
  ],
  ["lengths of a long text", { anyOf: Array.from({ length: 300 }, () => ({ minLength: 2_000_000 })) }, "a".repeat(1_000_000)],
  ["formats of a long text", { anyOf: Array.from({ length: 300 }, () => ({ format: "email" })) }, "a.".repeat(500_000)],
  ["differing items, often", { anyOf: Array.from({ length: 300 }, () => ({ uniqueItems: true })) }, [1, ...numbers(100_000)]],
])("arguments that would take long to check are refused soon: %s", (_what, schema, value) => {
  const { check } = compileParameters("f", { x: schema });
  const started = performance.now();
  expect(refusal(() => check({ x: value }))).toMatchObject({
    code: "INVALID_PARAMETERS",
    message: expect.stringContaining("too many"),
  });
  expect(performance.now() - started).toBeLessThan(2_000);
});

test("large but plain arguments are checked", () => {
  const text = { type: "string", maxLength: 100 };
  const { check } = compileParameters("f", {
    objects: {
      type: "array",
      items: { type: "object", properties: Object.fromEntries(numbers(10).map((i) => [`p${i}`, text])) },
    },
    either: { type: "array", items: { anyOf: [{ type: "string" }, { type: "number" }] } },
    integers: { type: "array", items: { type: "integer", minimum: 0 } },
    words: { type: "array", items: { type: "string", pattern: "^[a-z]+$", maxLength: 20 } },
    long: { type: "string", pattern: "^(a|b)*$", minLength: 1 },
  });
  check({ objects: numbers(20_000).map(() => ({ p0: "abc", p1: "def", p2: "x", p3: "y" })) });
  check({ either: numbers(250_000) });
  check({ integers: numbers(500_000) });
  check({ words: numbers(100_000).map(() => "abcdef") });
  check({ long: "ab".repeat(500_000) });
});

function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i % 10);
}

/** `count` times `count` choices that no number of `numbers` fits. */
function failing(count: number): object[] {
  return Array.from({ length: count }, () => ({ anyOf: Array.from({ length: count }, (_, i) => ({ const: -i - 1 })) }));
}
