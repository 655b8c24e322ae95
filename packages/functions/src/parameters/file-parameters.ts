import { TreadleError } from "@treadle/errors";

/** A parameter whose argument is the id of a file, or a list of such ids. */
export interface FileParameter {
  readonly name: string;
  readonly isList: boolean;
}

type Json = Readonly<Record<string, unknown>>;

/** Keywords whose value is data and not a schema. */
const DATA = new Set(["enum", "const", "default", "examples"]);
/** Keywords whose value is a map from free names to schemas. */
const SCHEMA_MAPS = new Set(["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"]);

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The parameters that take files (`"format": "file"`, or items of an array that have it); null: there are none, as nearly always. */
export function fileParametersOf(parameters: Json | null): readonly FileParameter[] | null {
  if (parameters === null) return null;
  const found: FileParameter[] = [];
  for (const [name, schema] of Object.entries(parameters)) {
    if (!isObject(schema)) continue;
    if (schema.format === "file") found.push({ name, isList: false });
    else if (isObject(schema.items) && schema.items.format === "file") found.push({ name, isList: true });
  }
  return found.length === 0 ? null : found;
}

/**
 * Refuses files deeper in a schema than parameters and items of lists: they would reach the code as ids, with nobody having said so.
 * @throws INVALID_SCHEMA naming the place
 */
export function checkFilePlaces(functionName: string, parameters: Json): void {
  const refuse = (path: string): never => {
    throw new TreadleError(
      "INVALID_SCHEMA",
      `The parameter schema of ${functionName} has the format "file" at ${path.slice(0, 200)}; only a parameter itself, or the items of one that is an array, can be files.`,
      { details: { function: functionName, path: path.slice(0, 200) } },
    );
  };
  const visit = (schema: unknown, path: string, place: "parameter" | "items" | "deeper"): void => {
    if (Array.isArray(schema)) for (const [index, item] of schema.entries()) visit(item, `${path}/${index}`, "deeper");
    if (!isObject(schema)) return;
    if (schema.format === "file" && place === "deeper") refuse(path);
    for (const [key, value] of Object.entries(schema)) {
      if (DATA.has(key)) continue;
      if (SCHEMA_MAPS.has(key) && isObject(value)) {
        for (const [name, child] of Object.entries(value)) visit(child, `${path}/${key}/${name}`, "deeper");
      } else visit(value, `${path}/${key}`, key === "items" && place === "parameter" ? "items" : "deeper");
    }
  };
  for (const [name, schema] of Object.entries(parameters)) visit(schema, `/${name}`, "parameter");
}
