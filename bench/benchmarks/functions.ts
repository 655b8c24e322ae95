/** The function of the bars: one line, a parameter, no log. */
export const HELLO = {
  node: { code: 'return "Hello " + name;', parameters: { name: { type: "string" } } },
  python: { language: "python", code: 'return "Hello " + name', parameters: { name: { type: "string" } } },
} as const;

/** The same with one line of log. */
export const HELLO_AND_LOG = {
  node: { ...HELLO.node, code: 'console.log("called by", name);\nreturn "Hello " + name;' },
  python: { ...HELLO.python, code: 'print("called by", name)\nreturn "Hello " + name' },
} as const;

/** The body of every call. */
export const CALL = { parameters: { name: "world" } };
export const CALL_TEXT = JSON.stringify(CALL);
export const LANGUAGES = ["node", "python"] as const;
export type Language = (typeof LANGUAGES)[number];

/** @throws Error when the text is not the answer of a hello function */
export function checkHello(text: string): void {
  const { result, logs, duration } = JSON.parse(text) as Record<string, unknown>;
  if (result !== "Hello world" || !Array.isArray(logs) || typeof duration !== "number")
    throw new Error(`a wrong answer: ${text}`);
}
