import type { HandlerResponseHead } from "@treadle/runtimes";

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const NO_VALUE = /[^\t\u0020-\u007e\u0080-\u00ff]/;
/** Of the connection, which is ours; counted by us; or said by Treadle only. */
const OURS =
  /^(?:connection|keep-alive|proxy-connection|proxy-authenticate|te|trailer|transfer-encoding|upgrade|content-length|x-open-runtimes-.*|x-treadle-.*)$/;
const MAX_CHARACTERS = 64 * 1024;

/** A response's head that can be written as it is. */
export interface CheckedHead {
  readonly status: number;
  /** Names and values in turn. */
  readonly headers: string[];
  /** The length the function announces; null: none. */
  readonly length: number | null;
  /** Whether a response of this status has a body. */
  readonly hasBody: boolean;
}

/** Checks what a function's process sent as the head of a response. Returns what is wrong with it, in words, when it cannot be answered. */
export function checkedHead(text: string): CheckedHead | string {
  const sent = parsed(text);
  if (sent === null) return "its head is malformed";
  const { statusCode, headers: given } = sent;
  if (!Number.isInteger(statusCode) || statusCode < 200 || statusCode > 599)
    return `its status is ${String(statusCode).slice(0, 20)}`;
  if (!Array.isArray(given)) return "its headers are no list";
  const headers: string[] = [];
  let length: number | null = null;
  let characters = 0;
  for (const pair of given as readonly unknown[]) {
    if (!Array.isArray(pair) || typeof pair[0] !== "string" || typeof pair[1] !== "string")
      return "one of its headers is malformed";
    const [name, value] = pair as [string, string];
    if (!TOKEN.test(name)) return `${JSON.stringify(name.slice(0, 64))} is no header's name`;
    if (NO_VALUE.test(value)) return `its header ${name.slice(0, 64)} has characters that no header can have`;
    characters += name.length + value.length + 4;
    const lower = name.toLowerCase();
    if (lower === "content-length") {
      if (!/^\d{1,15}$/.test(value) || (length !== null && length !== Number(value))) return "its content-length is malformed";
      length = Number(value);
    }
    if (!OURS.test(lower)) headers.push(name, value);
  }
  if (characters > MAX_CHARACTERS) return `its headers are longer than ${MAX_CHARACTERS} characters`;
  return { status: statusCode, headers, length, hasBody: statusCode !== 204 && statusCode !== 205 && statusCode !== 304 };
}

function parsed(text: string): HandlerResponseHead | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as HandlerResponseHead) : null;
  } catch {
    return null;
  }
}
