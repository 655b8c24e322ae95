import { isDeepStrictEqual } from "node:util";
import type { TestCase } from "./test-case.ts";

/** What came back from a function. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** inline and script. */
  readonly result?: unknown;
  /** Code of the error it ended with. */
  readonly error: string | null;
  readonly logs: readonly string[];
}

/** Where an answer is not what was expected, one line each; none: it is. What a test does not name may be anything. */
export function differences({ expect }: TestCase, answer: Answer): string[] {
  const faults: string[] = [];
  if (expect.status !== undefined && expect.status !== answer.status)
    faults.push(`status: expected ${expect.status}, got ${answer.status}`);
  for (const [name, value] of Object.entries(expect.headers ?? {})) {
    const got = answer.headers[name.toLowerCase()];
    if (got !== value) faults.push(`header ${name}: expected ${shown(value)}, got ${shown(got)}`);
  }
  if (expect.body !== undefined) faults.push(...bodyDifferences(expect.body, answer.body));
  if (expect.result !== undefined) faults.push(...within(expect.result, answer.result, "result"));
  if ((expect.error ?? null) !== answer.error) {
    if (expect.error !== undefined) faults.push(`error: expected ${expect.error}, got ${answer.error ?? "none"}`);
    else if (answer.error !== null && expect.status === undefined) faults.push(`it failed: ${answer.error}`);
  }
  for (const text of expect.logs ?? []) {
    if (!answer.logs.some((line) => line.includes(text))) faults.push(`logs: no line has ${shown(text)}`);
  }
  return faults;
}

function bodyDifferences(expected: unknown, body: string): string[] {
  if (typeof expected === "string") return expected === body ? [] : [`body: expected ${shown(expected)}, got ${shown(body)}`];
  try {
    return within(expected, JSON.parse(body), "body");
  } catch {
    return [`body: expected JSON, got ${shown(body)}`];
  }
}

/** Objects may have more than is expected of them; everything else has to be equal. */
function within(expected: unknown, actual: unknown, place: string): string[] {
  if (isObject(expected) && isObject(actual)) {
    return Object.entries(expected).flatMap(([key, value]) =>
      within(value, Object.hasOwn(actual, key) ? actual[key] : undefined, `${place}.${key}`),
    );
  }
  return isDeepStrictEqual(expected, actual) ? [] : [`${place}: expected ${shown(expected)}, got ${shown(actual)}`];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  const text = value === undefined ? "nothing" : JSON.stringify(value);
  return text.length <= 300 ? text : `${text.slice(0, 300)}…`;
}
