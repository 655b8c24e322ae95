import { TreadleError } from "@treadle/errors";
import { Ajv, type ErrorObject, type ValidateFunction } from "ajv";
import addFormats from "ajv-formats";
import { RE2JS } from "re2js";
import { checkSchemaCost } from "./cost.ts";
import { schemaOfParameters } from "./schema.ts";

/** Checks the arguments of calls of one function. */
export interface ParameterCheck {
  /** Names that are variables in the function's scope. */
  readonly names: readonly string[];
  /** Defaults of top-level parameters, for calls between siblings, which are not checked. */
  readonly defaults: Readonly<Record<string, unknown>>;
  /**
   * Checks arguments in place: defaults are filled in.
   * @throws INVALID_PARAMETERS with one entry in `details.errors` per fault
   */
  check(input: Record<string, unknown>): void;
}

function linearRegExp(pattern: string): {
  test(text: string): boolean;
  exec(text: string): null;
  source: string;
  toString(): string;
} {
  const compiled = RE2JS.compile(pattern);
  return {
    source: pattern,
    test: (text) => compiled.matcher(text).find(),
    exec: () => null,
    toString: () => `linear:${pattern}`,
  };
}
linearRegExp.code = "linearRegExp";

function newAjv(): Ajv {
  const ajv = new Ajv({
    strict: false,
    allErrors: false,
    useDefaults: true,
    allowUnionTypes: true,
    ownProperties: true,
    validateFormats: true,
    addUsedSchema: false,
    logger: false,
    // Its own type wants RegExp's whole face; only `test` is ever called.
    code: { regExp: linearRegExp as never },
  });
  addFormats.default(ajv);
  ajv.removeKeyword("uniqueItems");
  ajv.addKeyword({
    keyword: "uniqueItems",
    type: "array",
    schemaType: "boolean",
    error: { message: "must NOT have duplicate items" },
    validate: (unique: boolean, items: unknown[]) => !unique || new Set(items.map(canonical)).size === items.length,
  });
  return ajv;
}

/** A text equal for equal JSON values, whatever the order of their keys. */
function canonical(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  return `{${Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonical((value as Record<string, unknown>)[key])}`)
    .join(",")}}`;
}

function faultOf(error: ErrorObject): { path: string; message: string } {
  const missing = error.keyword === "required" ? `/${String(error.params.missingProperty)}` : "";
  const choices = error.keyword === "enum" ? `: ${JSON.stringify(error.params.allowedValues).slice(0, 200)}` : "";
  return {
    path: `${error.instancePath}${missing}`,
    message: missing === "" ? `${error.message ?? "is not valid"}${choices}` : "is missing",
  };
}

/**
 * Compiles a function's `parameters` (the `properties` part of a JSON Schema) into a check.
 * @throws INVALID_SCHEMA naming the function and the place
 */
export function compileParameters(functionName: string, parameters: Record<string, unknown> | null): ParameterCheck {
  if (parameters === null) return { names: [], defaults: {}, check: () => undefined };
  checkSchemaCost({ type: "object", properties: parameters }, functionName);
  const schema = schemaOfParameters(parameters);
  let validate: ValidateFunction;
  try {
    validate = newAjv().compile(schema);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new TreadleError("INVALID_SCHEMA", `The parameter schema of ${functionName} is not valid: ${reason.slice(0, 500)}`, {
      details: { function: functionName },
      cause: error,
    });
  }
  const defaults: Record<string, unknown> = {};
  for (const [name, property] of Object.entries(parameters)) {
    if (typeof property === "object" && property !== null && Object.hasOwn(property, "default")) {
      defaults[name] = (property as Record<string, unknown>).default;
    }
  }
  return {
    names: Object.keys(parameters),
    defaults,
    check(input) {
      let valid: unknown;
      try {
        valid = validate(input);
      } catch (error) {
        throw new TreadleError(
          "INVALID_PARAMETERS",
          `The arguments of ${functionName} cannot be checked: they are nested too deep.`,
          {
            details: { function: functionName },
            cause: error,
          },
        );
      }
      if (valid === true) return;
      const faults = (validate.errors ?? []).map(faultOf);
      const first = faults[0];
      throw new TreadleError(
        "INVALID_PARAMETERS",
        `The arguments of ${functionName} do not fit its parameters${first ? `: ${first.path.replace(/^\//, "") || "the whole"} ${first.message}` : ""}.`,
        { details: { function: functionName, errors: faults } },
      );
    },
  };
}
