import { Validator } from "@seriousme/openapi-schema-validator";
import { describe, expect, test } from "vitest";
import { type Answer, sendBytes } from "../harness/http.ts";
import { sharedServer } from "../harness/shared-server.ts";

const server = sharedServer({
  flags: { "dependencies-infer": "no", "request-max-size": "256kb" },
  prepare: () => server.save("there", { f: { code: "return 1", parameters: { x: {} } } }),
});

interface Operation {
  readonly method: string;
  readonly path: string;
  readonly hasBody: boolean;
}

const WORKSPACE = "/api/v1/workspaces/{workspace}";
const OPERATIONS: readonly Operation[] = [
  "POST /v2/functions/{workspace} +body",
  "PATCH /v2/functions/{workspace} +body",
  "GET /v2/functions/{workspace}",
  "DELETE /v2/functions/{workspace}",
  "DELETE /v2/functions/{workspace}/{function}",
  "POST /v2/functions/{workspace}/run/{function} +body",
  "GET /api/v1/workspaces",
  `GET ${WORKSPACE}`,
  `PUT ${WORKSPACE} +body`,
  `PATCH ${WORKSPACE} +body`,
  `DELETE ${WORKSPACE}`,
  `GET ${WORKSPACE}/functions/{function}`,
  `PUT ${WORKSPACE}/functions/{function} +body`,
  `DELETE ${WORKSPACE}/functions/{function}`,
  `POST ${WORKSPACE}/functions/{function}/executions +body`,
  `GET ${WORKSPACE}/functions/{function}/deployments`,
  `POST ${WORKSPACE}/functions/{function}/deployments +body`,
  `GET ${WORKSPACE}/functions/{function}/deployments/{reference}`,
  `DELETE ${WORKSPACE}/functions/{function}/deployments/{reference}`,
  `POST ${WORKSPACE}/functions/{function}/deployments/{reference}/activate`,
  `POST ${WORKSPACE}/functions/{function}/deployments/{reference}/cancel`,
  `GET ${WORKSPACE}/functions/{function}/deployments/{reference}/log`,
  `GET ${WORKSPACE}/functions/{function}/deployments/{reference}/diff/{other}`,
  `POST ${WORKSPACE}/functions/{function}/rollback`,
  `PUT ${WORKSPACE}/functions/{function}/aliases/{alias} +body`,
  `DELETE ${WORKSPACE}/functions/{function}/aliases/{alias}`,
  ...[WORKSPACE, `${WORKSPACE}/functions/{function}`].flatMap((of) => [
    ...["variables", "secrets"].flatMap((kind) => [
      `GET ${of}/${kind}`,
      `PUT ${of}/${kind}/{name} +body`,
      `DELETE ${of}/${kind}/{name}`,
    ]),
  ]),
  `GET ${WORKSPACE}/dependencies`,
  `GET ${WORKSPACE}/dependencies/{language}`,
  `PUT ${WORKSPACE}/dependencies/{language} +body`,
  "GET /api/v1/executions",
  "GET /api/v1/executions/{id}",
  "GET /api/v1/executions/{id}/log",
  "POST /api/v1/executions/{id}/cancel",
  "POST /api/v1/executions/{id}/replay +body",
  "GET /api/v1/live",
  "GET /api/v1/queue",
  `GET ${WORKSPACE}/log`,
  `GET ${WORKSPACE}/callback-key`,
  `GET ${WORKSPACE}/schedules`,
  `GET ${WORKSPACE}/functions/{function}/schedules`,
  `GET ${WORKSPACE}/functions/{function}/schedules/{schedule}`,
  `PUT ${WORKSPACE}/functions/{function}/schedules/{schedule} +body`,
  `DELETE ${WORKSPACE}/functions/{function}/schedules/{schedule}`,
  "GET /api/v1/domains",
  "GET /api/v1/domains/{host}",
  "PUT /api/v1/domains/{host} +body",
  "DELETE /api/v1/domains/{host}",
  "GET /api/v1/runtimes",
  "GET /api/v1/instances",
  `GET ${WORKSPACE}/files`,
  // A form or raw bytes, which files.test.ts tries.
  `POST ${WORKSPACE}/files`,
  `GET ${WORKSPACE}/files/{file}`,
  `PATCH ${WORKSPACE}/files/{file} +body`,
  `DELETE ${WORKSPACE}/files/{file}`,
  `HEAD ${WORKSPACE}/files/{file}/content`,
  `GET ${WORKSPACE}/files/{file}/content`,
  `POST ${WORKSPACE}/files/{file}/link +body`,
  `GET ${WORKSPACE}/usage`,
  `PUT ${WORKSPACE}/quota +body`,
  // tus, which resumable-uploads.test.ts tries.
  `OPTIONS ${WORKSPACE}/uploads`,
  `POST ${WORKSPACE}/uploads`,
  `OPTIONS ${WORKSPACE}/uploads/{upload}`,
  `HEAD ${WORKSPACE}/uploads/{upload}`,
  `PATCH ${WORKSPACE}/uploads/{upload}`,
  `DELETE ${WORKSPACE}/uploads/{upload}`,
  `GET ${WORKSPACE}/imports`,
  `POST ${WORKSPACE}/imports +body`,
  `GET ${WORKSPACE}/imports/{import}`,
  `DELETE ${WORKSPACE}/imports/{import}`,
  `GET ${WORKSPACE}/bundles`,
  `POST ${WORKSPACE}/bundles +body`,
  `GET ${WORKSPACE}/bundles/{bundle}`,
  `DELETE ${WORKSPACE}/bundles/{bundle}`,
  "GET /api/v1/storage",
  "POST /api/v1/storage/collect",
  "POST /api/v1/storage/scrub",
  "HEAD /files/{file}",
  "GET /files/{file}",
  "GET /health",
  "GET /ready",
  "GET /metrics",
].map((line) => {
  const [method = "", path = "", body] = line.split(" ");
  return { method, path, hasBody: body !== undefined };
});

/** A workspace nobody has written to has none of these: that is an answer. */
const EMPTY_LISTS = new Set(["files", "usage", "imports", "bundles"].map((list) => `GET ${WORKSPACE}/${list}`));

/** The operation's path with its parameters filled in. */
function filled(path: string, values: Readonly<Record<string, string>> = {}): string {
  const names: Record<string, string> = { workspace: "there", function: "f", language: "node", id: "none", ...values };
  return path.replaceAll(/\{(\w+)\}/g, (_, name: string) => names[name] ?? "x");
}

/** An answer to nonsense: refused with a code of the catalogue, and nothing of the inside in it. */
function expectRefused(answer: Answer, what: string): void {
  expect([400, 403, 404, 405, 412, 413, 414, 415, 431], `${what}: ${answer.status} ${answer.text.slice(0, 300)}`).toContain(
    answer.status,
  );
  // An answer to HEAD has no body.
  if (answer.text === "" && answer.headers["content-length"] !== "0") return;
  expect(answer.json.error, what).toMatchObject({
    code: expect.any(String),
    message: expect.any(String),
    help: expect.any(String),
  });
  expect(answer.text).not.toMatch(/node_modules|\.ts:\d| {4}at /);
}

test("the OpenAPI document is valid 3.1, has every route, and no route is missing from these tests", async () => {
  const { json: document } = await server.send("GET", "/openapi.json");
  const validator = new Validator();
  expect(await validator.validate(structuredClone(document) as never)).toEqual({ valid: true });
  expect(validator.version).toBe("3.1");
  const paths = document.paths as Record<string, Record<string, { requestBody?: object }>>;
  const found = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path,
      hasBody: operation.requestBody !== undefined,
    })),
  );
  // DRS has errors of its own form; the tests of its routes try them.
  const ours = found.filter(({ path }) => !path.startsWith("/ga4gh/"));
  const sorted = (list: readonly Operation[]) => list.map((each) => JSON.stringify(each)).sort();
  expect(sorted(ours)).toEqual(sorted(OPERATIONS));
});

const deep = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
const deepObject = (depth: number) => ['{"a":'.repeat(depth), "}".repeat(depth)].join("1");
const BODIES: readonly (readonly [string, string | Buffer])[] = [
  ["nothing", ""],
  ["no JSON", "{"],
  ["JSON cut off", '{"functions":{"f":{"code":"return 1'],
  ["a number", "1"],
  ["null", "null"],
  ["a text", '"x"'],
  ["a list", "[]"],
  ["functions a list", '{"functions":[],"parameters":[],"files":[]}'],
  ["functions a text", '{"functions":"x","parameters":"x","files":"x"}'],
  ["code a number", '{"functions":{"f":{"code":1}},"code":1,"parameters":1,"files":1}'],
  ["parameters a list", '{"functions":{"f":{"code":"return 1","parameters":[1]}},"parameters":[1],"code":[],"files":{"a":1}}'],
  ["a function null", '{"functions":{"f":null},"parameters":7,"code":null,"files":null}'],
  ["a name of 100 kB", `{"functions":{"${"n".repeat(100_000)}":{"code":"return 1"}},"parameters":"","code":7,"files":"x"}`],
  ["a NUL in a name", '{"functions":{"a\\u0000b":{"code":"return 1"}},"parameters":0,"code":7,"files":"x"}'],
  ["a lone surrogate in a name", '{"functions":{"\\ud800":{"code":"return 1"}},"parameters":0,"code":7,"files":"x"}'],
  ["__proto__ as a function", '{"functions":{"__proto__":{"code":1}},"__proto__":{"x":1},"parameters":0,"code":7,"files":"x"}'],
  [
    "constructor.prototype",
    '{"functions":{"constructor":{"prototype":1}},"constructor":{"prototype":{"x":1}},"parameters":0,"code":7,"files":"x"}',
  ],
  ["lists nested 100,000 deep", `{"functions":${deep(100_000)},"parameters":${deep(100_000)}}`],
  [
    "objects nested 20,000 deep",
    `{"functions":{"f":{"code":"return 1","parameters":${deepObject(10_000)}}},"parameters":[${deepObject(10_000)}],"code":1}`,
  ],
  [
    "bytes that are not UTF-8",
    Buffer.concat([
      Buffer.from('{"functions":{"'),
      Buffer.from([0xff, 0xfe, 0xc0]),
      Buffer.from('":1},"parameters":1,"code":1}'),
    ]),
  ],
  ["a huge number", '{"functions":{"f":{"code":1e999}},"parameters":1e999,"code":1e999}'],
  ["beyond the limit", `{"functions":{},"parameters":{"x":"${"x".repeat(300_000)}"}}`],
];

describe("a malformed body is refused on every route that takes one", () => {
  const taking = OPERATIONS.filter((operation) => operation.hasBody);
  test.each(taking)("$method $path", async ({ method, path }) => {
    for (const [what, body] of BODIES) {
      const answer = await server.send(method, filled(path), body, { timeoutMs: 10_000 });
      // Calls without a body, and with null, are calls without arguments.
      if (/run|executions/.test(path) && ["nothing", "null"].includes(what) && answer.status === 200) continue;
      expectRefused(answer, what);
    }
    expect(await server.result("there", "f")).toBe(1);
  });

  test.each(taking)("$method $path with a wrong content type", async ({ method, path }) => {
    for (const type of [
      "text/plain",
      "application/xml",
      "multipart/form-data; boundary=x",
      "application/x-www-form-urlencoded",
      "nonsense",
      "",
    ]) {
      const answer = await server.send(method, filled(path), '{"functions":{}}', { headers: { "content-type": type } });
      expectRefused(answer, type);
      expect([400, 415]).toContain(answer.status);
    }
  });

  test.each(taking)("$method $path with a body cut off or announced wrongly does not hang", async ({ method, path }) => {
    const head = (length: number) =>
      `${method} ${filled(path)} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n`;
    expect(await sendBytes(server.port, `${head(10)}{"a`, 200)).not.toMatch(/^HTTP\/1\.1 5/);
    for (const length of ["-1", "1e3", "0x10", "99999999999999999999", "1, 2", "abc"]) {
      const raw = `${method} ${filled(path)} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n{}`;
      expect(await sendBytes(server.port, raw, 500), length).toMatch(/^(HTTP\/1\.1 4\d\d|$)/);
    }
    const chunked = `${method} ${filled(path)} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n`;
    expect(await sendBytes(server.port, chunked, 500)).toMatch(/^HTTP\/1\.1 4\d\d/);
  });
});

const NAMES = [
  "..",
  "%2e%2e",
  "..%2f..%2fetc%2fpasswd",
  "%2e%2e%2f",
  "a%2fb",
  "%00",
  "a%00b",
  "%",
  "%zz",
  "%ff%fe",
  "%ed%a0%80",
  "-",
  " ".replace(" ", "%20"),
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "%F0%9F%98%80",
  "a".repeat(129),
  "a".repeat(600),
  "a".repeat(10_000),
  "'%3B--",
  "%27%20OR%201%3D1",
  "*",
  "~",
];

describe("a name that is none is refused on every route", () => {
  test.each(OPERATIONS.filter(({ method, path }) => path.includes("{") && method !== "OPTIONS"))(
    "$method $path",
    async ({ method, path, hasBody }) => {
      for (const [, parameter = ""] of path.matchAll(/\{(\w+)\}/g)) {
        for (const name of NAMES) {
          const answer = await server.send(
            method,
            filled(path, { [parameter]: name }),
            hasBody ? { functions: { "a b": { code: "" } } } : undefined,
            { timeoutMs: 10_000 },
          );
          if (answer.status === 200 && EMPTY_LISTS.has(`${method} ${path}`)) {
            expect(answer.text).toMatch(/^\{"(files|imports|bundles)":(\[\],|\[\]\}|0,)/);
            continue;
          }
          expectRefused(answer, `${parameter} ${name.slice(0, 40)}`);
        }
      }
      expect(await server.result("there", "f")).toBe(1);
    },
  );
});

test.each([
  ["limit=0"],
  ["limit=-1"],
  ["limit=1e9"],
  ["limit=x"],
  ["limit=1&limit=2"],
  ["since=x"],
  ["since=9e99"],
  ["until=-9e99"],
  ["state=nonsense"],
  ["after=nonsense"],
  ["after=%00"],
  ["text=%00"],
  ["text=%ed%a0%80"],
  [`text=${"x".repeat(300)}`],
  ["workspace=%00"],
  ["function=%27%3B%20drop%20table%20executions"],
])("a strange query of the executions never ends in a 5xx: %s", async (query) => {
  const answer = await server.send("GET", `/api/v1/executions?${query}`);
  expect(answer.status, answer.text.slice(0, 300)).toBeLessThan(500);
  if (answer.status !== 200) expectRefused(answer, query);
});

test.each([["after=%00"], ["after=%ed%a0%80"], ["limit=x"], [`after=${"x".repeat(10_000)}`]])(
  "a strange query of the workspaces never ends in a 5xx: %s",
  async (query) => {
    const answer = await server.send("GET", `/api/v1/workspaces?${query}`);
    expect(answer.status, answer.text.slice(0, 300)).toBeLessThan(500);
  },
);

test.each([
  ["files?limit=0"],
  ["files?limit=1e9"],
  ["files?after=nonsense"],
  ["files?after=%00"],
  ["files?prefix=%00"],
  ["files?prefix=%ed%a0%80"],
  [`files?prefix=${"%25".repeat(200)}`],
  ["files?sha256=x"],
  ["files?sha256=%00"],
  ["files?prefix=a&prefix=b"],
  ["bundles?after=nonsense"],
  ["bundles?limit=x"],
])("a strange query of a workspace's lists never ends in a 5xx: %s", async (query) => {
  const answer = await server.send("GET", `/api/v1/workspaces/there/${query}`);
  expect(answer.status, answer.text.slice(0, 300)).toBeLessThan(500);
  if (answer.status !== 200) expectRefused(answer, query);
});

test("a wrong method is refused on every path", async () => {
  for (const path of new Set(OPERATIONS.map((operation) => operation.path))) {
    const known = new Set(OPERATIONS.filter((operation) => operation.path === path).map((operation) => operation.method));
    for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "QUERY"]) {
      if (known.has(method)) continue;
      const answer = await server.send(method, filled(path), ["POST", "PUT", "PATCH"].includes(method) ? {} : undefined);
      expectRefused(answer, `${method} ${path}`);
    }
  }
});

test("__proto__ and constructor in arguments and results stay data", async () => {
  await server.save("proto", {
    node: { code: "return [JSON.stringify(x), ({}).polluted ?? null, Object.keys(parameters)]", parameters: { x: {} } },
    python: { language: "python", code: "import json\nreturn [json.dumps(x), None, list(parameters)]", parameters: { x: {} } },
    back: { code: 'return JSON.parse(\'{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}\')' },
  });
  const body =
    '{"parameters":{"x":{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}},"__proto__":{"polluted":1}}}';
  for (const name of ["node", "python"]) {
    const answer = await server.send("POST", `/v2/functions/proto/run/${name}`, body);
    expect(answer.status, answer.text).toBe(200);
    const [seen, polluted] = answer.json.result as [string, unknown];
    expect(JSON.parse(seen)).toEqual(JSON.parse('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}'));
    expect(polluted).toBeNull();
  }
  const back = await server.run("proto", "back");
  expect(back.text).toContain('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}');
  expect((await server.send("GET", "/api/v1/workspaces/proto")).text).not.toContain('polluted":1}}},"settings');
});
