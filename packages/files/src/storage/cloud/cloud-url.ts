import { TreadleError } from "@treadle/errors";

/** What a storage URL of a cloud says. */
export interface CloudUrl<Word extends string> {
  /** The bucket, or Azure's container. */
  readonly bucket: string;
  /** Without slashes at its ends; may be empty. */
  readonly prefix: string;
  /** The words of the query that are there. */
  readonly words: Readonly<Partial<Record<Word, string>>>;
  /** The query's `endpoint`, checked; null: the cloud's own. */
  readonly endpoint: URL | null;
}

/**
 * Reads `scheme://bucket/prefix?word=value`. The URL ends up in process lists and logs, so credentials have no place in it.
 * @throws INVALID_SETTING
 */
export function readCloudUrl<Word extends string>(url: URL, known: readonly Word[]): CloudUrl<Word> {
  const refuse = (what: string) =>
    new TreadleError("INVALID_SETTING", `TREADLE_STORAGE_URL (${url.protocol}//${url.hostname}${url.pathname}): ${what}`);
  if (url.username !== "" || url.password !== "") {
    throw refuse("credentials do not belong into the URL; give them in the environment (docs/guides/storage.md).");
  }
  if (!/^[\w][\w.-]{1,221}$/.test(url.hostname) || url.port !== "") {
    throw refuse(`the name of a bucket or container must follow ${url.protocol}//.`);
  }
  if (url.hash !== "") throw refuse("it must not have a fragment (#…).");
  const prefix = url.pathname.replace(/^\/+|\/+$/g, "");
  if (prefix !== "" && !prefix.split("/").every((part) => /^[\w.-]+$/.test(part) && part !== "." && part !== "..")) {
    throw refuse("a prefix is made of letters, digits, `_`, `-`, `.` and single slashes.");
  }
  const words: Partial<Record<Word, string>> = {};
  for (const [word, value] of url.searchParams) {
    const match = known.find((candidate) => candidate === word);
    if (match === undefined) throw refuse(`it does not take \`${word}\`; it takes ${known.join(", ")}.`);
    if (words[match] !== undefined) throw refuse(`\`${word}\` is given twice.`);
    if (value === "") throw refuse(`\`${word}\` is empty.`);
    words[match] = value;
  }
  const given: string | undefined = (words as Partial<Record<string, string>>).endpoint;
  return { bucket: url.hostname, prefix, words, endpoint: given === undefined ? null : readEndpoint(given, refuse) };
}

/** The value of a query word that is `yes` or `no`. @throws INVALID_SETTING */
export function yesOrNo(word: string, value: string | undefined, otherwise: boolean): boolean {
  if (value === undefined) return otherwise;
  if (value === "yes") return true;
  if (value === "no") return false;
  throw new TreadleError("INVALID_SETTING", `TREADLE_STORAGE_URL: \`${word}\` is yes or no, not ${JSON.stringify(value)}.`);
}

function readEndpoint(value: string, refuse: (what: string) => TreadleError): URL {
  if (!URL.canParse(value)) throw refuse("`endpoint` must be an http:// or https:// address.");
  const endpoint = new URL(value);
  if (endpoint.protocol !== "http:" && endpoint.protocol !== "https:") {
    throw refuse("`endpoint` must be an http:// or https:// address.");
  }
  if (endpoint.username !== "" || endpoint.password !== "") throw refuse("`endpoint` must not have credentials.");
  if (endpoint.search !== "" || endpoint.hash !== "") throw refuse("`endpoint` must not have a query or a fragment.");
  return endpoint;
}
