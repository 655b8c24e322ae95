import { TreadleError } from "@treadle/errors";

/** Most parts a schema may come to once its references are followed. */
const MAX_PARTS = 5_000;
const MAX_DEPTH = 64;

/** Keywords whose value is a map from free names to schemas. */
const SCHEMA_MAPS = new Set(["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"]);
/** Keywords whose value is data. */
const DATA = new Set(["enum", "const", "default", "examples"]);
/** Keywords that change what a reference means. */
const REFUSED = new Set(["$dynamicRef", "$recursiveRef", "$async", "$data", "$id", "id", "$anchor", "$dynamicAnchor"]);

/**
 * Refuses parameter schemas whose check could be made to take exponential time. Validation runs in the server, on
 * schemas that strangers wrote: references must not form circles, and a schema must stay small once they are followed.
 * (Patterns are run by a linear-time engine and `uniqueItems` by a set, see compile.ts.)
 * @throws INVALID_SCHEMA naming the place
 */
export function checkSchemaCost(schema: unknown, functionName: string): void {
  let parts = 0;
  const underWay = new Set<string>();

  function refuse(path: string, reason: string): never {
    throw new TreadleError("INVALID_SCHEMA", `The parameter schema of ${functionName} ${reason} (at ${path || "/"}).`, {
      details: { function: functionName, path },
    });
  }

  function count(path: string, depth: number): void {
    parts += 1;
    if (parts > MAX_PARTS) refuse("", `comes to more than ${MAX_PARTS} parts once its references are followed`);
    if (depth > MAX_DEPTH) refuse(path.slice(0, 200), `is nested more than ${MAX_DEPTH} deep`);
  }

  function followReference(reference: string, path: string, depth: number): void {
    if (!/^#(\/|$)/.test(reference))
      refuse(path, `refers to "${reference.slice(0, 80)}"; only references into itself ("#/...") are taken`);
    if (underWay.has(reference)) refuse(path, "refers to itself in a circle");
    let target: unknown = schema;
    for (const part of reference.slice(1).split("/").slice(1)) {
      const key = part.replaceAll("~1", "/").replaceAll("~0", "~");
      target =
        typeof target === "object" && target !== null && Object.hasOwn(target, key)
          ? (target as Record<string, unknown>)[key]
          : undefined;
    }
    if (target === undefined) refuse(path, `refers to "${reference.slice(0, 80)}", which is not there`);
    underWay.add(reference);
    visitSchema(target, path, depth + 1);
    underWay.delete(reference);
  }

  function visitData(value: unknown, path: string, depth: number): void {
    count(path, depth);
    if (typeof value !== "object" || value === null) return;
    for (const child of Object.values(value)) visitData(child, path, depth + 1);
  }

  function visitSchema(node: unknown, path: string, depth: number): void {
    count(path, depth);
    if (typeof node !== "object" || node === null) return;
    if (Array.isArray(node)) {
      for (const [index, item] of node.entries()) visitSchema(item, `${path}/${index}`, depth + 1);
      return;
    }
    for (const [key, value] of Object.entries(node)) {
      const at = `${path}/${key}`;
      if (key === "$ref" && typeof value === "string") followReference(value, at, depth);
      else if (REFUSED.has(key)) refuse(at, `uses "${key}", which is not supported`);
      else if (DATA.has(key)) visitData(value, at, depth + 1);
      else if (SCHEMA_MAPS.has(key) && typeof value === "object" && value !== null) {
        for (const [name, child] of Object.entries(value)) visitSchema(child, `${at}/${name}`, depth + 2);
      } else visitSchema(value, at, depth + 1);
    }
  }

  visitSchema(schema, "", 0);
}
