import { expect, test } from "vitest";
import { sharedServer } from "../harness/shared-server.ts";

const server = sharedServer({
  flags: { "request-max-size": "4mb", prewarmed: "0" },
  prepare: () => server.save("neighbour", { f: { code: "return 1" } }),
});

/** Does something on the server while a neighbour is called; fails when either takes long. */
async function expectQuick<T>(what: () => Promise<T>, limitMs = 2_000): Promise<T> {
  const started = performance.now();
  const done = what();
  const neighbour = server.result("neighbour", "f").then(() => performance.now() - started);
  const value = await done;
  expect(performance.now() - started).toBeLessThan(limitMs);
  expect(await neighbour).toBeLessThan(limitMs);
  return value;
}

const save = (parameters: unknown) =>
  server.send("POST", "/v2/functions/schemas", { functions: { f: { code: "return 1", parameters } } });
const call = (parameters: unknown) => server.run("schemas", "f", parameters);
const LONG = `${"a".repeat(100_000)}!`;

test.each([["^(a+)+$"], ["^(a|a)*$"], ["^(a|aa)+$"], ["^(([a-z])+.)+[A-Z]([a-z])+$"], ["(.*)*(.*)*(.*)*x$"]])(
  "a pattern that explodes elsewhere is checked in linear time: %s",
  async (pattern) => {
    expect((await save({ x: { type: "string", pattern } })).status).toBe(200);
    const answer = await expectQuick(() => call({ x: LONG }));
    expect([200, 400]).toContain(answer.status);
  },
);

test.each([
  ["email", `${"a@".repeat(50_000)}`],
  ["email", `${"a.".repeat(50_000)}@`],
  ["hostname", "a-".repeat(50_000)],
  ["uri", `http://${"%20".repeat(50_000)}^`],
  ["uri", `a${":a".repeat(50_000)} `],
  ["uri-reference", `${"/a".repeat(50_000)} `],
  ["url", `http://${"a.".repeat(50_000)}`],
  ["ipv6", ":0".repeat(50_000)],
  ["date-time", "1".repeat(100_000)],
  ["duration", `P${"1Y".repeat(50_000)}`],
  ["json-pointer", "/~".repeat(50_000)],
  ["uri-template", "{a".repeat(50_000)],
  ["regex", "(".repeat(50_000)],
  ["byte", `${"AAAA".repeat(25_000)}!`],
])("a text of 100 kB is held against the format %s in no time", async (format, text) => {
  expect((await save({ x: { type: "string", format } })).status).toBe(200);
  const answer = await expectQuick(() => call({ x: text }));
  expect([200, 400]).toContain(answer.status);
});

test("references that double at every step are refused", async () => {
  const levels = Object.fromEntries(
    Array.from({ length: 40 }, (_, i) => [
      `l${i}`,
      { anyOf: [{ $ref: `#/properties/x/$defs/l${i + 1}` }, { $ref: `#/properties/x/$defs/l${i + 1}` }] },
    ]),
  );
  const answer = await expectQuick(() =>
    save({ x: { $defs: { ...levels, l40: { type: "string" } }, $ref: "#/properties/x/$defs/l0" } }),
  );
  expect([answer.status, answer.code]).toEqual([400, "INVALID_SCHEMA"]);
});

test.each([
  ["nested 1,000 deep", { x: Array.from({ length: 1_000 }).reduce<object>((inner) => ({ type: "array", items: inner }), {}) }],
  ["of 20,000 parts", { x: { anyOf: Array.from({ length: 20_000 }, (_, i) => ({ const: i })) } }],
  ["of 20,000 parameters", Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`p${i}`, { type: "string" }]))],
])("a schema %s is refused at once", async (_what, parameters) => {
  const answer = await expectQuick(() => save(parameters));
  expect([answer.status, answer.code]).toEqual([400, "INVALID_SCHEMA"]);
});

test.each([
  ["numbers", Array.from({ length: 100_000 }, (_, i) => i)],
  ["objects", Array.from({ length: 50_000 }, (_, i) => ({ a: i, b: [i] }))],
])("uniqueItems on 100,000 items: %s", async (_what, items) => {
  expect((await save({ x: { type: "array", uniqueItems: true } })).status).toBe(200);
  expect((await expectQuick(() => call({ x: items }))).status).toBe(200);
  expect((await expectQuick(() => call({ x: [...items, items[0]] }))).code).toBe("INVALID_PARAMETERS");
});

test.each([
  ["choices for every item", { type: "array", items: { anyOf: Array.from({ length: 1_500 }, (_, i) => ({ const: -i - 1 })) } }],
  [
    "combinations for every item",
    {
      type: "array",
      items: { oneOf: Array.from({ length: 200 }, (_, i) => ({ type: "object", properties: { a: { const: i } } })) },
    },
  ],
  ["contains, for every item", { type: "array", contains: { const: -1 }, items: { type: "number" } }],
  ["an enum of 4,000 for every item", { type: "array", items: { enum: Array.from({ length: 4_000 }, (_, i) => -i - 1) } }],
])("many %s hold nobody up", async (_what, schema) => {
  expect((await save({ x: schema })).status).toBe(200);
  const answer = await expectQuick(() => call({ x: Array.from({ length: 100_000 }, (_, i) => i) }));
  expect([200, 400]).toContain(answer.status);
});

test("choices that all fail but the last, for every item, are refused before they hold anybody up", async () => {
  const failing = Array.from({ length: 48 }, () => ({ anyOf: Array.from({ length: 48 }, (_, i) => ({ const: -i - 1 })) }));
  expect((await save({ x: { type: "array", items: { anyOf: [...failing, { type: "number" }] } } })).status).toBe(200);
  const answer = await expectQuick(() => call({ x: Array.from({ length: 20_000 }, (_, i) => i % 10) }));
  expect([answer.status, answer.code]).toEqual([400, "INVALID_PARAMETERS"]);
  expect((await call({ x: [1, 2, 3] })).json.result).toBe(1);
}, 60_000);

test("a pattern of many states against a long text holds nobody up", async () => {
  expect((await save({ x: { type: "string", pattern: "^((a{0,30}){0,30}b?)*c$" } })).status).toBe(200);
  const answer = await expectQuick(() => call({ x: "a".repeat(900_000) }));
  expect([answer.status, answer.code]).toEqual([400, "INVALID_PARAMETERS"]);
}, 120_000);

test("arguments nested 100,000 deep are refused or passed on, in no time", async () => {
  expect((await save({ x: {} })).status).toBe(200);
  const body = `{"parameters":{"x":${"[".repeat(100_000)}${"]".repeat(100_000)}}}`;
  const answer = await expectQuick(() => server.send("POST", "/v2/functions/schemas/run/f", body));
  expect([200, 400]).toContain(answer.status);
  expect((await call({ x: 1 })).json.result).toBe(1);
});
