import type { IncomingMessage } from "node:http";
import { ERROR_CATALOGUE, type ErrorCode, isTreadleError, TreadleError } from "@treadle/errors";
import type { Command } from "commander";
import { exchange, type StreamedRequest, textOf } from "./exchange.ts";

const DEFAULT_SERVER = "http://127.0.0.1:4000";

/** What every command that talks to a server takes. */
export interface ServerOptions {
  readonly server?: string;
  readonly key?: string;
}

/** Adds `--server` and `--key` to a command. */
export function withServerOptions(command: Command): Command {
  return command
    .option("--server <url>", `address of the server [TREADLE_SERVER; default ${DEFAULT_SERVER}]`)
    .option("--key <key>", "the server's admin key; the environment hides it better from other users [TREADLE_ADMIN_KEY]");
}

/** Speaks to a server's HTTP API. */
export class ServerClient {
  readonly url: string;
  readonly #key: string | undefined;

  /** @throws INVALID_SETTING when the address is none */
  constructor(options: ServerOptions, environment: Readonly<Record<string, string | undefined>> = process.env) {
    const url = options.server ?? (environment.TREADLE_SERVER || DEFAULT_SERVER);
    if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
      throw new TreadleError(
        "INVALID_SETTING",
        `${JSON.stringify(url.slice(0, 200))} is not the address of a server; one looks like ${DEFAULT_SERVER}.`,
      );
    }
    this.url = url.replace(/\/+$/, "");
    this.#key = options.key ?? (environment.TREADLE_ADMIN_KEY || undefined);
  }

  /**
   * Sends a request with a JSON body and returns the JSON answer. `path` is made with `path`.
   * @throws the server's own error; SERVER_UNREACHABLE when there is none or it is not Treadle
   */
  async request<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await this.#send(method, path, body);
    const text = await response.text();
    if (response.ok) return (text === "" ? undefined : parsed(text)) as T;
    throw errorOf(parsed(text)) ?? this.#unreachable(`answered ${response.status} and is not Treadle`);
  }

  /**
   * The same for bodies and answers that are larger than memory: resolves with the head of an answer of status 2xx.
   * @throws the server's own error; SERVER_UNREACHABLE when there is none, it is not Treadle, or the connection broke; what the body failed with
   */
  async open(
    method: string,
    path: string,
    request: Omit<StreamedRequest, "method" | "url"> = { headers: {} },
  ): Promise<IncomingMessage> {
    const response = await this.exchange({ ...request, method, url: `${this.url}${path}` });
    if (response.statusCode !== undefined && response.statusCode >= 200 && response.statusCode < 300) return response;
    throw await this.refusal(response);
  }

  /** Sends a request of any address with the key, and resolves with an answer of any status. @throws SERVER_UNREACHABLE, what the body failed with */
  async exchange(request: StreamedRequest): Promise<IncomingMessage> {
    try {
      return await exchange({ ...request, headers: { ...request.headers, ...this.#authorization() } });
    } catch (error) {
      if (isTreadleError(error) || request.signal?.aborted) throw error;
      const { code, message } = error as NodeJS.ErrnoException;
      throw this.#unreachable(`does not answer: ${code ?? message}`);
    }
  }

  /** The error that an answer tells of. */
  async refusal(response: IncomingMessage): Promise<TreadleError> {
    const text = await textOf(response).catch(() => "");
    return errorOf(parsed(text)) ?? this.#unreachable(`answered ${response.statusCode} and is not Treadle`);
  }

  #authorization(): Record<string, string> {
    return this.#key === undefined ? {} : { authorization: `Bearer ${this.#key}` };
  }

  async #send(method: string, path: string, body: unknown): Promise<Response> {
    try {
      return await fetch(`${this.url}${path}`, {
        method,
        redirect: "manual",
        headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...this.#authorization() },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch (error) {
      const cause = (error as { cause?: { code?: string; message?: string } }).cause;
      throw this.#unreachable(`does not answer: ${cause?.code ?? cause?.message ?? String(error)}`);
    }
  }

  #unreachable(what: string): TreadleError {
    return new TreadleError("SERVER_UNREACHABLE", `${this.url} ${what}.`);
  }
}

/** A path of the API; what is filled in is encoded: `` path`/api/v1/workspaces/${name}` ``. */
export function path(parts: TemplateStringsArray, ...values: readonly string[]): string {
  return parts.reduce((whole, part, index) => `${whole}${encodeURIComponent(values[index - 1] ?? "")}${part}`);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function errorOf(body: unknown): TreadleError | null {
  const error = (body as { error?: { code?: unknown; message?: unknown; details?: unknown } } | undefined)?.error;
  if (typeof error?.code !== "string" || typeof error.message !== "string") return null;
  if (Object.hasOwn(ERROR_CATALOGUE, error.code)) {
    return new TreadleError(error.code as ErrorCode, error.message, { details: error.details });
  }
  return new TreadleError("INTERNAL", `The server answered ${error.code}, which this version does not know: ${error.message}`);
}
