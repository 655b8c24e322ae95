import { readFileSync } from "node:fs";
import { Ajv, type ValidateFunction } from "ajv";
import addFormats from "ajv-formats";
import { expect } from "vitest";
import type { DrsAnswer } from "./send.ts";

const PREFIX = "/ga4gh/drs/v1";
/** Statuses of HTTP itself, which the specification does not repeat for each operation; they have its form of error. */
const OF_HTTP = [403, 405, 413, 415];

interface Response {
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly content?: { readonly "application/json": { readonly schema: object } };
}
interface Operation {
  readonly operationId: string;
  readonly responses: Readonly<Record<string, { readonly $ref: string }>>;
}
interface Specification {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly responses: Readonly<Record<string, Response>> };
}

const text = readFileSync(new URL("../specs/ga4gh-drs-1.5.0.openapi.json", import.meta.url), "utf8");
const specification = JSON.parse(text) as Specification;

const ajv = new Ajv({ strict: false, allErrors: true });
addFormats.default(ajv);
ajv.addSchema(specification, "drs");
const refersTo = (pointer: string) => ({ $ref: `drs#/components/schemas/${pointer}` });

/** Routes of ours that GA4GH has as a draft only, in the same form. */
const OURS: Specification["paths"] = {
  "/objects/register": {
    post: { operationId: "RegisterObjects", responses: response(["201", "400", "401", "413", "422", "424"]) },
  },
  "/objects/checksum/{checksum}": {
    get: { operationId: "GetObjectsByChecksum", responses: response(["200", "400", "401", "404"]) },
  },
};
const OUR_BODIES: Readonly<Record<string, object>> = {
  RegisterObjects: {
    type: "object",
    required: ["objects"],
    additionalProperties: false,
    properties: { objects: { type: "array", minItems: 1, items: refersTo("DrsObject") } },
  },
  GetObjectsByChecksum: {
    type: "object",
    required: ["summary", "resolved_drs_object"],
    additionalProperties: false,
    properties: {
      summary: refersTo("summary"),
      resolved_drs_object: { type: "array", minItems: 1, items: refersTo("DrsObject") },
    },
  },
};

function response(statuses: readonly string[]): Operation["responses"] {
  return Object.fromEntries(statuses.map((status) => [status, { $ref: "" }]));
}

/** What DRS 1.2 knows of each form; it is from before the members that are left out here, and clients of it refuse others. */
const KNOWN_IN_1_2: Readonly<Record<string, readonly string[]>> = {
  Service: [
    ...["id", "name", "type", "description", "organization", "contactUrl", "documentationUrl"],
    ...["createdAt", "updatedAt", "environment", "version"],
  ],
  DrsObject: [
    ...["id", "name", "self_uri", "size", "created_time", "updated_time", "version", "mime_type", "checksums"],
    ...["access_methods", "contents", "description", "aliases"],
  ],
  AccessMethod: ["type", "access_url", "access_id", "region"],
  AccessURL: ["url", "headers"],
};

const paths = Object.entries({ ...OURS, ...specification.paths }).map(([template, operations]) => ({
  pattern: new RegExp(`^${template.replaceAll(/\{\w+\}/g, "[^/]+")}$`),
  // Of two that fit, the one with fewer variables is meant: /objects/access is no object.
  variables: template.split("{").length,
  operations,
}));
paths.sort((a, b) => a.variables - b.variables);

const compiled = new Map<string, ValidateFunction>();

function checkAgainst(name: string, schema: object, value: unknown): void {
  let validate = compiled.get(name);
  if (validate === undefined) {
    validate = ajv.compile(schema);
    compiled.set(name, validate);
  }
  expect(validate(value) ? [] : validate.errors, `${name}: ${JSON.stringify(value)?.slice(0, 600)}`).toEqual([]);
}

/**
 * Holds an answer to the specification: a status that the operation documents, its headers, and a body of its form. Everything below the prefix that is no
 * operation is an error in the form of DRS. Nothing a client sends makes a 5xx.
 */
export function checkDrsAnswer(answer: DrsAnswer, profile: "1.5" | "1.2" = "1.5"): void {
  const { method, path, status, headers, json } = answer;
  const told = `${method} ${path.slice(0, 200)} → ${status} ${answer.text.slice(0, 300)}`;
  expect(status, told).toBeLessThan(500);
  const operation = operationOf(method, path);
  const documented = operation?.responses[String(status)];
  if (status >= 400) {
    if (operation === undefined) expect([400, 401, 403, 404, 405], told).toContain(status);
    else if (documented === undefined) expect(OF_HTTP, told).toContain(status);
    expect(headers["content-type"], told).toMatch(/^application\/json\b/);
    if (status === 401) expect(headers["www-authenticate"], told).toMatch(/^Bearer\b/);
    if (status === 405) expect(headers.allow, told).toMatch(/^[A-Z]+(, [A-Z]+)*$/);
    if (method === "HEAD") {
      expect(answer.text, told).toBe("");
      return;
    }
    checkAgainst("Error", { ...refersTo("Error"), required: ["msg", "status_code"] }, json);
    expect(json.status_code, told).toBe(status);
    expect(json.msg, told).not.toBe("");
    return;
  }
  expect(documented, told).toBeDefined();
  const { $ref } = documented as { $ref: string };
  const form = $ref === "" ? undefined : specification.components.responses[$ref.split("/").at(-1) as string];
  const schema = $ref === "" ? OUR_BODIES[operation?.operationId as string] : form?.content?.["application/json"].schema;
  if (form?.headers?.["Retry-After"] !== undefined) expect(headers["retry-after"], told).toMatch(/^\d+$/);
  if (schema === undefined || method === "HEAD") {
    expect(answer.text, told).toBe("");
    return;
  }
  expect(headers["content-type"], told).toMatch(/^application\/json\b/);
  const name = $ref === "" ? (operation?.operationId as string) : $ref;
  // What 1.5 adds to the common form of service-info is not in 1.2.
  if (profile === "1.2" && name.endsWith("/200ServiceInfo")) checkAgainst("Service", refersTo("Service"), json);
  else checkAgainst(name, inPlace(schema), json);
  checkInvariants(json, told);
  if (profile === "1.2") checkOnlyKnown(operation?.operationId as string, json);
}

function operationOf(method: string, path: string): Operation | undefined {
  const [withoutQuery = ""] = path.split("?", 1);
  if (!withoutQuery.startsWith(PREFIX)) return undefined;
  const verb = method === "HEAD" ? "get" : method.toLowerCase();
  const fitting = paths.filter(({ pattern }) => pattern.test(withoutQuery.slice(PREFIX.length)));
  return fitting.map(({ operations }) => operations[verb]).find((operation) => operation !== undefined);
}

/** The document's references are relative to itself. */
function inPlace(schema: object): object {
  return JSON.parse(JSON.stringify(schema).replaceAll('"$ref":"#/', '"$ref":"drs#/'));
}

/** What the specification says in words. */
function checkInvariants(json: Record<string, unknown>, told: string): void {
  const objects = ["self_uri" in json ? [json] : [], json.resolved_drs_object ?? [], json.objects ?? []].flat() as Record<
    string,
    // biome-ignore lint/suspicious/noExplicitAny: see above.
    any
  >[];
  for (const object of objects) {
    if (object.self_uri === undefined) continue;
    expect(object.self_uri, told).toMatch(/^drs:\/\/[^/]+\/[A-Za-z0-9._~-]+$/);
    expect(object.self_uri.endsWith(`/${object.id}`), told).toBe(true);
    expect(object.name, told).toMatch(/^[A-Za-z0-9._-]+$/);
    expect(object.checksums[0].checksum, told).toMatch(/^[0-9a-f]{64}$/);
    if (object.contents === undefined) expect(object.access_methods?.length, told).toBeGreaterThan(0);
    for (const each of object.access_methods ?? []) expect(each.access_id ?? each.access_url, told).toBeDefined();
    for (const each of object.contents ?? []) {
      expect(each.name, told).toMatch(/^[A-Za-z0-9._-]+$/);
      expect(each.id, told).toBeDefined();
    }
  }
  const { summary } = json as { summary?: { requested: number; resolved: number; unresolved: number } };
  if (summary === undefined || json.unresolved_drs_objects === undefined) return;
  const refused = (json.unresolved_drs_objects as { object_ids: string[] }[]).flatMap(({ object_ids }) => object_ids);
  const resolved = (json.resolved_drs_object ?? json.resolved_drs_object_access_urls) as unknown[];
  expect(summary, told).toEqual({
    requested: refused.length + resolved.length,
    resolved: resolved.length,
    unresolved: refused.length,
  });
}

function checkOnlyKnown(operationId: string, json: Record<string, unknown>): void {
  const known = (form: string, value: object) => expect(KNOWN_IN_1_2[form]).toEqual(expect.arrayContaining(Object.keys(value)));
  if (operationId === "GetServiceInfo") known("Service", json);
  if (/^(Get|Post)AccessURL$/.test(operationId)) known("AccessURL", json);
  if (!/^(Get|Post)Object$/.test(operationId)) return;
  known("DrsObject", json);
  for (const method of (json.access_methods ?? []) as object[]) known("AccessMethod", method);
}
