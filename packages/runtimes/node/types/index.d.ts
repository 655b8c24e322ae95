/** What Treadle gives a function. In JavaScript: `/** @type {import("./treadle").Handler} *\/ export default async (context) => ...` */

/** Exported as `export default` or `module.exports`. */
export type Handler = (context: Context) => HandlerResponse | Promise<HandlerResponse>;

/** The older form: what is sent first is the response. */
export type OlderHandler = (req: HandlerRequest, res: Responses) => unknown;

export interface Context {
  readonly req: HandlerRequest;
  readonly res: Responses;
  /** An entry of level info; objects are written as JSON. */
  log(...values: unknown[]): void;
  /** An entry of level error. */
  error(...values: unknown[]): void;
  readonly logger: Logger;
  /** Saves a file of the sandbox, or content, as a file of the workspace. */
  saveFile(path: string, about?: FileAbout): Promise<SavedFile>;
  saveFile(file: FileAbout & { name: string; content: FileContent }): Promise<SavedFile>;
  /** Makes a file of the workspace readable, by its id; or opens one by its path. */
  openFile(idOrPath: string): Promise<OpenedFile>;
}

/** Entries with fields of their own, which logs can be searched by. */
export interface Logger {
  debug(message: unknown, fields?: Record<string, unknown>): void;
  info(message: unknown, fields?: Record<string, unknown>): void;
  warn(message: unknown, fields?: Record<string, unknown>): void;
  error(message: unknown, fields?: Record<string, unknown>): void;
}

export interface HandlerRequest {
  readonly method: string;
  readonly scheme: string;
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly url: string;
  readonly queryString: string;
  /** Undecoded: `a=b&c==d&k` is `{ a: "b", c: "=d", k: "" }`. */
  readonly query: Record<string, string>;
  /** Names are lower case. */
  readonly headers: Record<string, string>;
  /** An object when the content type is application/json, else text. */
  // biome-ignore lint/suspicious/noExplicitAny: JSON of the caller's own shape
  readonly body: any;
  readonly bodyText: string;
  /** The body as JSON, whatever its content type. Throws when it is none. */
  // biome-ignore lint/suspicious/noExplicitAny: JSON of the caller's own shape
  readonly bodyJson: any;
  readonly bodyBinary: Uint8Array;
  /** The body as it comes. A function whose file mentions it is called before a body that makes it wait has come whole. */
  readonly bodyStream: AsyncIterable<Uint8Array>;
}

/** Each makes a response; the one that the function returns is sent. */
export interface Responses {
  text(body: string, status?: number, headers?: HandlerHeaders): HandlerResponse;
  json(value: unknown, status?: number, headers?: HandlerHeaders): HandlerResponse;
  binary(body: Uint8Array | ArrayBuffer, status?: number, headers?: HandlerHeaders): HandlerResponse;
  redirect(url: string, status?: number, headers?: HandlerHeaders): HandlerResponse;
  empty(): HandlerResponse;
  /** The head goes out at once, then each piece as the source gives it, no faster than it is read. */
  stream(source: StreamSource | (() => StreamSource), status?: number, headers?: HandlerHeaders): HandlerResponse;
  /** @deprecated use text or binary */
  send(body: string | Uint8Array, status?: number, headers?: HandlerHeaders): HandlerResponse;
}

export type HandlerHeaders = Record<string, string | number | readonly string[]>;
export type StreamSource = Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>;

export interface HandlerResponse {
  readonly statusCode?: number;
  readonly headers?: HandlerHeaders;
  readonly body?: unknown;
}

export type FileContent = string | ArrayBuffer | Uint8Array | StreamSource;

export interface FileAbout {
  readonly name?: string;
  readonly type?: string;
  readonly description?: string;
}

export interface SavedFile {
  readonly id: string;
  readonly name: string;
  readonly mimeType: string;
  readonly size: number;
  readonly sha256: string;
}

export interface OpenedFile extends Partial<SavedFile> {
  readonly name: string;
  readonly size: number;
  readonly path: string;
  stream(): AsyncIterable<Uint8Array>;
  bytes(): Promise<Uint8Array>;
  text(): Promise<string>;
}

/** What a script's `handle` gets, and returns the parts of that it changes. */
export interface ScriptData {
  payload: string | null;
  variables: Record<string, unknown>;
  meta: Record<string, unknown>;
  flow: { variables: Record<string, unknown> };
  /** Of the step before: in response scripts. */
  response?: { headers: Record<string, string>; body: string; status: number };
}

export interface ScriptResult extends Partial<Omit<ScriptData, "response">> {
  /** 0 go on, 1 retry the step, 2 fail and queue again, 3 fail, 4 authenticate again and retry. */
  response_code?: 0 | 1 | 2 | 3 | 4;
  /** Lines for the run's log. */
  logs?: string[];
}

/** Exported as `handle`. */
// biome-ignore lint/suspicious/noConfusingVoidType: a script may return nothing
export type Script = (data: ScriptData) => ScriptResult | void | Promise<ScriptResult | void>;
