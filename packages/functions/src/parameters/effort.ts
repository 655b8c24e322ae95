import type { FuncKeywordDefinition } from "ajv";

type Json = Record<string, unknown>;

/**
 * What one check may cost, in steps of about ten nanoseconds. A schema is small (see cost.ts), but arguments may hold half a
 * million items, and each of them may be tried against thousands of choices: that took a minute of the server's only thread.
 */
const LIMIT = 20_000_000;
/** A choice that fails costs far more than a condition that holds: the fault is described in vain. */
const TENTATIVE = 20;
/** Steps per character of a text that is matched or counted, and per item of an array whose items must differ. */
const PER_CHARACTER = 2;
const PER_UNIQUE_ITEM = 30;
const PER_MATCH = 40;

/** Its presence on a schema: what evaluating that schema once costs. Written by `withEffort` only. */
const KEYWORD = "x-treadle-effort";
/** Subschemas that are evaluated once for each item or property. */
const REPEATED = new Set([
  ...["items", "additionalItems", "contains", "additionalProperties", "propertyNames"],
  ...["unevaluatedItems", "unevaluatedProperties", "patternProperties"],
]);
const TRIED = new Set(["anyOf", "oneOf", "not", "if", "contains"]);
const SCHEMA_MAPS = new Set(["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"]);
const DATA = new Set(["enum", "const", "default", "examples"]);
const OF_TEXT = ["format", "minLength", "maxLength"];

/** Thrown by a check that would take too long. */
export class EffortExceeded extends Error {}

let spent = 0;

/** To be called before a check: it is synchronous, so one count serves all. */
export function beginEffort(): void {
  spent = 0;
}

function spend(steps: number): void {
  spent += steps;
  if (spent > LIMIT) throw new EffortExceeded();
}

/** Counts holding a text against a pattern, also one that chooses properties by their names. */
export function spendOnMatch(text: string): void {
  spend(PER_MATCH + text.length * PER_CHARACTER);
}

interface Mark {
  readonly steps: number;
  readonly text: number;
  readonly unique: boolean;
}

/** The keyword that counts, for the validator. */
export const effortKeyword: FuncKeywordDefinition = {
  keyword: KEYWORD,
  schemaType: "object",
  errors: false,
  validate({ steps, text, unique }: Mark, data: unknown) {
    const ofText = text > 0 && typeof data === "string" ? data.length * text * PER_CHARACTER : 0;
    const ofItems = unique && Array.isArray(data) ? data.length * PER_UNIQUE_ITEM : 0;
    spend(steps + ofText + ofItems);
    return true;
  },
};

/** A copy of a schema whose parts count what their evaluation costs. References must not form circles. */
export function withEffort(root: Json): Json {
  return marked(root, false);

  function marked(schema: Json, repeated: boolean): Json {
    const copy: Json = {};
    for (const [key, value] of Object.entries(schema)) {
      if (key !== KEYWORD) define(copy, key, DATA.has(key) ? value : markedWithin(key, value));
    }
    const text = OF_TEXT.filter((key) => key in schema).length;
    const unique = schema.uniqueItems === true;
    const steps = repeated ? stepsOf(schema, 1) : 0;
    if (steps > 0 || text > 0 || unique) copy[KEYWORD] = { steps, text, unique } satisfies Mark;
    return copy;
  }

  function markedWithin(key: string, value: unknown): unknown {
    const repeated = REPEATED.has(key);
    if (Array.isArray(value)) return value.map((each) => (isObject(each) ? marked(each, repeated) : each));
    if (!isObject(value)) return value;
    if (!SCHEMA_MAPS.has(key)) return marked(value, repeated);
    const copy: Json = {};
    for (const [name, each] of Object.entries(value)) define(copy, name, isObject(each) ? marked(each, repeated) : each);
    return copy;
  }

  /** Steps of evaluating a schema once, without what is repeated in it: that counts itself. */
  function stepsOf(value: unknown, weight: number): number {
    if (Array.isArray(value)) return value.reduce<number>((sum, each) => sum + stepsOf(each, weight), 0);
    if (!isObject(value)) return 0;
    let steps = weight;
    for (const [key, part] of Object.entries(value)) {
      if (key === "$defs" || key === "definitions" || REPEATED.has(key)) continue;
      if (key === "enum" && Array.isArray(part)) steps += part.length * weight;
      else if (key === "$ref" && typeof part === "string") steps += stepsOf(targetOf(part), weight);
      else steps += stepsOf(part, TRIED.has(key) ? TENTATIVE : weight);
    }
    return steps;
  }

  function targetOf(reference: string): unknown {
    let target: unknown = root;
    for (const part of reference.split("/").slice(1)) {
      const key = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
      target = isObject(target) || Array.isArray(target) ? (target as Json)[key] : undefined;
    }
    return target;
  }
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Sets a key that may be `__proto__`. */
function define(target: Json, key: string, value: unknown): void {
  Object.defineProperty(target, key, { value, enumerable: true, writable: true, configurable: true });
}
