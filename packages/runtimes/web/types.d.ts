/** Types of Treadle functions for Deno and Bun. */

export interface Request {
  /** Object when the content type is application/json, else text. */
  // biome-ignore lint/suspicious/noExplicitAny: any JSON value.
  readonly body: any;
  readonly bodyText: string;
  /** The body as JSON, whatever its content type. @throws SyntaxError */
  // biome-ignore lint/suspicious/noExplicitAny: any JSON value.
  readonly bodyJson: any;
  readonly bodyBinary: Uint8Array<ArrayBuffer>;
  readonly bodyStream: ReadableStream<Uint8Array>;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly method: string;
  readonly url: string;
  readonly scheme: string;
  readonly host: string;
  readonly port: number;
  readonly path: string;
  /** Not decoded. */
  readonly query: Readonly<Record<string, string>>;
  readonly queryString: string;
  /** Aborts when the caller has given up. */
  readonly signal: AbortSignal;
}

export type Headers = Record<string, string | readonly string[]>;
export type Piece = string | Uint8Array;
export type Source = ReadableStream<Piece> | AsyncIterable<Piece> | Iterable<Piece>;

/** What a function returns; made by the methods of `res`. */
export interface Answer {
  readonly statusCode: number;
  readonly headers: Headers;
}

export interface Response {
  text(body: string, statusCode?: number, headers?: Headers): Answer;
  binary(body: Uint8Array | ArrayBuffer, statusCode?: number, headers?: Headers): Answer;
  json(value: unknown, statusCode?: number, headers?: Headers): Answer;
  redirect(url: string, statusCode?: number, headers?: Headers): Answer;
  empty(): Answer;
  stream(source: Source, statusCode?: number, headers?: Headers): Answer;
  /** @deprecated Use text. */
  send(body: string, statusCode?: number, headers?: Headers): Answer;
}

export type Log = (message: unknown, fields?: Record<string, unknown>) => void;

export interface Context {
  readonly req: Request;
  readonly res: Response;
  log(...values: unknown[]): void;
  error(...values: unknown[]): void;
  readonly logger: { debug: Log; info: Log; warn: Log; error: Log };
}

/** The request of the older form, `(req, res)`. */
export interface OlderRequest extends Request {
  /** The body's text. */
  readonly payload: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}
export type OlderResponse = Response;

/** What `handle` of a script gets and returns. */
export interface ScriptData {
  payload: string | null;
  variables: Record<string, unknown>;
  meta: Record<string, unknown>;
  flow: { variables: Record<string, unknown> };
  readonly response?: { headers: Record<string, string>; body: string; status: number };
  response_code?: 0 | 1 | 2 | 3 | 4;
  logs?: string[];
}
