import { TreadleError } from "@treadle/errors";
import { Ajv, type ErrorObject, type ValidateFunction } from "ajv";
import addFormats from "ajv-formats";
import { RE2JS } from "re2js";
import { checkSchemaCost } from "./cost.ts";
import { beginEffort, EffortExceeded, effortKeyword, spendOnMatch, withEffort } from "./effort.ts";
import { checkFilePlaces, type FileParameter, fileParametersOf } from "./file-parameters.ts";
import { schemaOfParameters } from "./schema.ts";

/** Checks the arguments of calls of one function. */
export interface ParameterCheck {
  /** Names that are variables in the function's scope. */
  readonly names: readonly string[];
  /** Defaults of top-level parameters, for calls between siblings, which are not checked. */
  readonly defaults: Readonly<Record<string, unknown>>;
  /** Those that take files; null: none do. */
  readonly files: readonly FileParameter[] | null;
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
    test(text) {
      spendOnMatch(text);
      return compiled.matcher(text).find();
    },
    exec: () => null,
    toString: () => `linear:${pattern}`,
  };
}
linearRegExp.code = "linearRegExp";

const OPTIONS = {
  strict: false,
  allErrors: false,
  useDefaults: true,
  ownProperties: true,
  allowUnionTypes: true,
  validateFormats: true,
  addUsedSchema: false,
  logger: false,
  // Its own type wants RegExp's whole face; only `test` is ever called.
  code: { regExp: linearRegExp as never },
} as const;

/** Knows what a schema is. Made once: it costs fourteen milliseconds. */
let grammar: Ajv | undefined;

/** Compiles one function's schema, which the grammar has accepted. One each, so that nothing is kept of replaced functions. */
function newCompiler(): Ajv {
  const ajv = new Ajv({ ...OPTIONS, meta: false, validateSchema: false });
  addFormats.default(ajv);
  ajv.addKeyword(effortKeyword);
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
 * Checks that a function's `parameters` (the `properties` part of a JSON Schema) are a schema that can be used, and
 * compiles it.
 * @throws INVALID_SCHEMA naming the function and the place
 */
export function compileParameters(functionName: string, parameters: Record<string, unknown> | null): ParameterCheck {
  let validate: ValidateFunction | undefined;
  if (parameters !== null) {
    checkSchemaCost({ type: "object", properties: parameters }, functionName);
    checkFilePlaces(functionName, parameters);
    grammar ??= new Ajv(OPTIONS);
    const schema = schemaOfParameters(parameters);
    if (grammar.validateSchema(schema) !== true) throw invalid(functionName, grammar.errorsText(grammar.errors, { dataVar: "" }));
    try {
      validate = newCompiler().compile(withEffort(schema));
    } catch (error) {
      throw invalid(functionName, error instanceof Error ? error.message : String(error), error);
    }
  }
  return checkWith(functionName, parameters, validate);
}

/** The check of parameters that `compileParameters` has accepted before: compiled at the first call, so that loading a workspace is quick. */
export function acceptedParameters(functionName: string, parameters: Record<string, unknown> | null): ParameterCheck {
  return checkWith(functionName, parameters, undefined);
}

function checkWith(
  functionName: string,
  parameters: Record<string, unknown> | null,
  compiled: ValidateFunction | undefined,
): ParameterCheck {
  if (parameters === null) return { names: [], defaults: {}, files: null, check: () => undefined };
  let validate = compiled;
  return {
    names: Object.keys(parameters),
    defaults: defaultsOf(parameters),
    files: fileParametersOf(parameters),
    check(input) {
      validate ??= newCompiler().compile(withEffort(schemaOfParameters(parameters)));
      let valid: unknown;
      beginEffort();
      try {
        valid = validate(input);
      } catch (error) {
        const reason =
          error instanceof EffortExceeded ? "they are too many for its parameter schema" : "they are nested too deep";
        throw new TreadleError("INVALID_PARAMETERS", `The arguments of ${functionName} cannot be checked: ${reason}.`, {
          details: { function: functionName },
          cause: error,
        });
      }
      if (valid !== true) throw misfit(functionName, (validate.errors ?? []).map(faultOf));
    },
  };
}

function invalid(functionName: string, reason: string, cause?: unknown): TreadleError {
  return new TreadleError("INVALID_SCHEMA", `The parameter schema of ${functionName} is not valid: ${reason.slice(0, 500)}`, {
    details: { function: functionName },
    cause,
  });
}

function misfit(functionName: string, faults: readonly { path: string; message: string }[]): TreadleError {
  const first = faults[0];
  const where = first === undefined ? "" : `: ${first.path.replace(/^\//, "") || "the whole"} ${first.message}`;
  return new TreadleError("INVALID_PARAMETERS", `The arguments of ${functionName} do not fit its parameters${where}.`, {
    details: { function: functionName, errors: faults },
  });
}

function defaultsOf(parameters: Record<string, unknown>): Record<string, unknown> {
  const defaults: Record<string, unknown> = {};
  for (const [name, property] of Object.entries(parameters)) {
    if (typeof property === "object" && property !== null && Object.hasOwn(property, "default")) {
      defaults[name] = (property as Record<string, unknown>).default;
    }
  }
  return defaults;
}
