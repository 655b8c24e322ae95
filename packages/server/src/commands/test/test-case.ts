import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { TreadleError } from "@treadle/errors";
import { parse } from "yaml";
import { z } from "zod";

/** The folder of a function's tests, beside its source. */
const TESTS = "tests";

const json = z.record(z.string(), z.unknown());

const testCase = z
  .strictObject({
    function: z.string().optional(),
    request: z
      .strictObject({
        method: z.string().default("GET"),
        path: z.string().startsWith("/").default("/"),
        headers: z.record(z.string(), z.string()).default({}),
        body: z.unknown().optional(),
      })
      .optional(),
    parameters: json.optional(),
    data: json.optional(),
    expect: z
      .strictObject({
        status: z.int().optional(),
        headers: z.record(z.string(), z.string()).optional(),
        body: z.unknown().optional(),
        result: z.unknown().optional(),
        error: z.string().optional(),
        logs: z.array(z.string()).optional(),
      })
      .default({}),
  })
  .refine((each) => [each.request, each.parameters, each.data].filter((input) => input !== undefined).length <= 1, {
    message: 'give one of "request" (handler), "parameters" (inline) or "data" (script)',
  });

/** A sample input of a function, and what has to come back. */
export interface TestCase extends z.infer<typeof testCase> {
  /** The file's path, relative to the function's folder. */
  readonly file: string;
}

/**
 * The test cases of a function's folder: `tests/*.yaml` and `tests/*.json`, sorted.
 * @throws INVALID_DEPLOYMENT naming file and field
 */
export function readTestCases(directory: string): TestCase[] {
  let names: string[];
  try {
    names = readdirSync(join(directory, TESTS)).filter((name) => /\.(ya?ml|json)$/.test(name));
  } catch {
    return [];
  }
  return names.sort().map((name) => readTestCase(directory, `${TESTS}/${name}`));
}

function readTestCase(directory: string, file: string): TestCase {
  let value: unknown;
  try {
    // JSON is YAML.
    value = parse(readFileSync(join(directory, file), "utf8"), { maxAliasCount: 100 });
  } catch (error) {
    throw new TreadleError("INVALID_DEPLOYMENT", `${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
  const checked = testCase.safeParse(value ?? {});
  if (checked.success) return { ...checked.data, file };
  const faults = checked.error.issues
    .slice(0, 10)
    .map((issue) => `${file}: ${issue.path.map(String).join(".")}: ${issue.message}`);
  throw new TreadleError("INVALID_DEPLOYMENT", faults.join("\n"), { details: { faults } });
}
