import { readFileSync } from "node:fs";
import { join } from "node:path";
import { TreadleError } from "@treadle/errors";
import { type Document, isMap, isNode, isPair, isScalar, LineCounter, parseDocument, type Scalar } from "yaml";
import { z } from "zod";

/** The name of the file that describes a deployment. */
export const TREADLE_YAML = "treadle.yaml";

const settings = z.strictObject({
  timeoutMs: z.int().optional(),
  asyncTimeoutMs: z.int().optional(),
  memoryBytes: z.int().optional(),
  cpus: z.number().optional(),
  processes: z.int().optional(),
  scratchBytes: z.int().optional(),
  requestBytes: z.int().optional(),
  concurrency: z.int().optional(),
  maxInstances: z.int().optional(),
  concurrencyLimit: z.strictObject({ max: z.int(), whenFull: z.enum(["queue", "reject"]).optional() }).optional(),
  egress: z.array(z.string()).optional(),
  public: z.boolean().optional(),
  secrets: z.array(z.string()).optional(),
});

const functionEntry = z
  .strictObject({
    contract: z.enum(["inline", "handler"]).optional(),
    language: z.string().optional(),
    code: z.string().optional(),
    file: z.string().optional(),
    source: z.string().optional(),
    entrypoint: z.string().optional(),
    parameters: z.record(z.string(), z.unknown()).optional(),
    settings: settings.optional(),
  })
  .superRefine((entry, context) => {
    const refuse = (message: string) => context.addIssue({ code: "custom", message });
    const sources = (["code", "file", "source"] as const).filter((key) => entry[key] !== undefined);
    if (sources.length !== 1)
      refuse('give one of "code" (the body), "file" (a file with the body) or "source" (a handler\'s folder)');
    else if (entry.source !== undefined && entry.contract === "inline")
      refuse('an inline function has "code" or "file", not "source"');
    else if (entry.source === undefined && entry.contract === "handler") refuse('a handler function has "source", its folder');
    if (entry.source === undefined && entry.entrypoint !== undefined) refuse('"entrypoint" is for handler functions');
    if (entry.source !== undefined && entry.parameters !== undefined) refuse('"parameters" are for inline functions');
  });

const treadleYaml = z.strictObject({
  workspace: z.string().optional(),
  mode: z.enum(["replace", "merge"]).default("replace"),
  functions: z.record(z.string(), functionEntry).default({}),
  dependencies: z.record(z.string(), z.string()).default({}),
});

/** A function of treadle.yaml. */
export type FunctionEntry = z.infer<typeof functionEntry>;

/** A treadle.yaml that has the right form, and where in it things are. */
export interface TreadleYaml extends z.infer<typeof treadleYaml> {
  /** `treadle.yaml:3:5`, the place of what is at this path, or of its nearest parent that is there. */
  placeOf(path: readonly PropertyKey[]): string;
  /** The place of a line and column (from 1) of an inline `code`. */
  placeInCode(functionName: string, line: number, column: number): string;
}

/** Reads and checks DIR/treadle.yaml. @throws INVALID_DEPLOYMENT naming line and column of each fault */
export function readTreadleYaml(directory: string): TreadleYaml {
  let text: string;
  try {
    text = readFileSync(join(directory, TREADLE_YAML), "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw invalid([
      code === "ENOENT" ? `There is no ${TREADLE_YAML} in ${directory}.` : `${TREADLE_YAML} cannot be read: ${code}.`,
    ]);
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${TREADLE_YAML}:${line}:${col}`;
  };
  if (document.errors.length > 0) throw invalid(document.errors.map((error) => `${at(error.pos[0])}: ${error.message}`));
  const placeOf = (path: readonly PropertyKey[]) => at(offsetOf(document, path));
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    throw invalid([`${TREADLE_YAML}: ${error instanceof Error ? error.message : String(error)}`]);
  }
  const checked = treadleYaml.safeParse(value ?? {});
  if (!checked.success) throw invalid(checked.error.issues.slice(0, 10).map((issue) => faultText(issue, placeOf)));
  return {
    ...checked.data,
    placeOf,
    placeInCode(functionName, line, column) {
      const node = document.getIn(["functions", functionName, "code"], true);
      const position = isScalar(node) ? positionInScalar(text, node, lines, line, column) : null;
      if (position !== null) return `${TREADLE_YAML}:${position.line}:${position.column}`;
      return `${placeOf(["functions", functionName, "code"])} (line ${line}, column ${column} of the code)`;
    },
  };
}

/** One INVALID_DEPLOYMENT for all faults. */
export function invalid(faults: readonly string[]): TreadleError {
  return new TreadleError("INVALID_DEPLOYMENT", faults.join("\n"), { details: { faults } });
}

function faultText(issue: z.core.$ZodIssue, placeOf: (path: readonly PropertyKey[]) => string): string {
  const name = issue.path.map(String).join(".");
  if (issue.code === "unrecognized_keys") {
    const [key = ""] = issue.keys;
    return `${placeOf([...issue.path, key])}: ${name === "" ? "" : `${name}: `}there is no ${JSON.stringify(key)} here`;
  }
  return `${placeOf(issue.path)}: ${name === "" ? "" : `${name}: `}${issue.message}`;
}

/** Where the key of a path begins; of the nearest parent when it is not there. */
function offsetOf(document: Document, path: readonly PropertyKey[]): number {
  let node: unknown = document.contents;
  let offset = isNode(node) ? (node.range?.[0] ?? 0) : 0;
  for (const step of path) {
    if (!isMap(node)) {
      node = (node as { items?: unknown[] } | null)?.items?.[Number(step)];
    } else {
      const pair = node.items.find((item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(step));
      if (pair === undefined) break;
      if (isScalar(pair.key)) offset = pair.key.range?.[0] ?? offset;
      node = pair.value;
      continue;
    }
    if (!isNode(node)) break;
    offset = node.range?.[0] ?? offset;
  }
  return offset;
}

/** The place in the file of a place in a literal block (`|`); null for other styles, whose lines are not the file's. */
function positionInScalar(
  text: string,
  node: Scalar,
  lines: LineCounter,
  line: number,
  column: number,
): { line: number; column: number } | null {
  if (node.type !== "BLOCK_LITERAL" || typeof node.value !== "string" || node.range == null) return null;
  const header = lines.linePos(node.range[0]).line;
  const source = text.split("\n");
  const content = node.value.split("\n");
  const first = content.findIndex((each) => each.trim() !== "");
  const indent = leadingSpaces(source[header + first] ?? "") - leadingSpaces(content[first] ?? "");
  return { line: header + line, column: indent + column };
}

function leadingSpaces(line: string): number {
  return line.length - line.trimStart().length;
}
