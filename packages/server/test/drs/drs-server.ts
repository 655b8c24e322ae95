import { createHash } from "node:crypto";
import { expect } from "vitest";
import { type CliServer, startCliServer } from "../cli-server.ts";
import { checkDrsAnswer } from "./drs-spec.ts";
import { type DrsAnswer, type SendOptions, sendTo } from "./send.ts";

export const PREFIX = "/ga4gh/drs/v1";
export const KEY = "drs-test-key-0123456789abcdefghijklmnop";

/** What the tests need of a file. */
export interface TestFile {
  readonly id: string;
  readonly name: string;
  readonly bytes: Buffer;
  readonly sha256: string;
}

/** A server whose every DRS answer is held to the specification. */
export interface DrsServer extends AsyncDisposable {
  readonly url: string;
  /** `127.0.0.1:PORT` */
  readonly host: string;
  readonly dataDirectory: string;
  /** Sends a request below the DRS prefix, without the key. */
  drs(method: string, path: string, options?: SendOptions): Promise<DrsAnswer>;
  /** The same with the key. */
  withKey(method: string, path: string, options?: SendOptions): Promise<DrsAnswer>;
  /** Sends a request to a native route, with the key. */
  api(method: string, path: string, body?: unknown): Promise<DrsAnswer>;
  upload(name: string, bytes: string | Buffer, query?: string): Promise<TestFile>;
  /** Makes a bundle of files and bundles by their ids and returns its id. */
  bundle(name: string, contents: Readonly<Record<string, { file: string } | { bundle: string }>>, more?: object): Promise<string>;
}

export const sha256 = (bytes: string | Buffer) => createHash("sha256").update(bytes).digest("hex");

export async function startDrsServer(environment: Readonly<Record<string, string>> = {}): Promise<DrsServer> {
  const server: CliServer = await startCliServer({ TREADLE_PREWARMED: "0", ...environment });
  const profile = environment.TREADLE_DRS_PROFILE === "1.2" ? "1.2" : "1.5";
  const key = environment.TREADLE_ADMIN_KEY;
  const authorization: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` };

  const drs: DrsServer["drs"] = async (method, path, options) => {
    const answer = await sendTo(server.url, method, `${PREFIX}${path}`, options);
    checkDrsAnswer(answer, profile);
    return answer;
  };
  const api: DrsServer["api"] = (method, path, body) =>
    sendTo(server.url, method, `/api/v1/workspaces/test${path}`, {
      headers: authorization,
      ...(body === undefined ? {} : { body }),
    });

  return {
    url: server.url,
    host: new URL(server.url).host,
    dataDirectory: server.dataDirectory,
    drs,
    withKey: (method, path, options = {}) => drs(method, path, { ...options, headers: { ...authorization, ...options.headers } }),
    api,
    async upload(name, content, query = "") {
      const bytes = Buffer.from(content);
      const response = await fetch(`${server.url}/api/v1/workspaces/test/files?name=${encodeURIComponent(name)}${query}`, {
        method: "POST",
        headers: { "content-type": "application/octet-stream", ...authorization },
        body: bytes,
      });
      expect(response.status, await response.clone().text()).toBe(201);
      const { files } = (await response.json()) as { files: { id: string }[] };
      return { id: files[0]?.id as string, name, bytes, sha256: sha256(bytes) };
    },
    async bundle(name, contents, more = {}) {
      const entries = Object.entries(contents).map(([entry, of]) => ({ name: entry, ...of }));
      const answer = await api("POST", "/bundles", { name, contents: entries, ...more });
      expect(answer.status, answer.text).toBe(201);
      return answer.json.id;
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}
