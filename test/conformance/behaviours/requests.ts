import { Readable } from "node:stream";
import { expect } from "vitest";
import type { Behaviour, Subject } from "../behaviour.ts";
import { type Question, SECRET } from "../runtime-server.ts";

const LIMIT = 20 * 1024 * 1024;

async function send(subject: Subject, question: Question) {
  return (await subject.server()).send(question);
}

/** What `req` says of the address, asked for with this request target and these headers. */
async function address(subject: Subject, path: string, headers: Record<string, string> = {}) {
  const reply = await send(subject, { action: "url", path, headers });
  expect(reply.status, reply.text).toBe(200);
  return JSON.parse(reply.text) as Record<string, unknown>;
}

/** The body kind of `action: body`, sent with this content type. */
async function seen(subject: Subject, body: string, contentType: string) {
  const reply = await send(subject, { action: "body", method: "POST", body, headers: { "content-type": contentType } });
  expect(reply.status).toBe(200);
  return JSON.parse(reply.text) as { kind: string; body: unknown };
}

/** What the user's function sees of a request. */
export const REQUESTS: readonly Behaviour[] = [
  ...["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"].map(
    (method): Behaviour => ({
      name: `the method ${method} arrives`,
      needs: ["method"],
      check: async (subject) => {
        const reply = await send(subject, { action: "method", method });
        expect(reply.status).toBe(200);
        expect(reply.text).toBe(method);
      },
    }),
  ),
  {
    name: "a method nobody knows is passed on or refused, and does no harm",
    needs: ["method"],
    check: async (subject) => {
      const server = await subject.server();
      const answer = await server.raw(
        `FROB / HTTP/1.1\r\nHost: localhost\r\nx-action: method\r\nx-open-runtimes-secret: ${SECRET}\r\nConnection: close\r\n\r\n`,
      );
      if (/^HTTP\/1\.1 200/.test(answer)) expect(answer).toContain("FROB");
      else expect(answer === "" || /^HTTP\/1\.[01] (4|50[01])/.test(answer), answer.slice(0, 200)).toBe(true);
      expect((await server.send({ action: "method" })).text).toBe("GET");
    },
  },
  {
    name: "url, path, query and host are taken apart undecoded",
    needs: ["url"],
    check: async (subject) => {
      const found = await address(subject, "/a%2Fb/c?a=b&c==d&k&e=%20f", { host: "example.com:8080" });
      expect(found).toEqual({
        url: "http://example.com:8080/a%2Fb/c?a=b&c==d&k&e=%20f",
        port: 8080,
        path: "/a%2Fb/c",
        query: { a: "b", c: "=d", k: "", e: "%20f" },
        queryString: "a=b&c==d&k&e=%20f",
        scheme: "http",
        host: "example.com",
      });
    },
  },
  {
    name: "without a query there is an empty one",
    needs: ["url"],
    check: async (subject) => {
      const found = await address(subject, "/", { host: "example.com" });
      expect(found).toMatchObject({ url: "http://example.com/", path: "/", query: {}, queryString: "" });
    },
  },
  {
    name: "a host without port has the scheme's port",
    needs: ["url"],
    check: async (subject) => {
      expect(await address(subject, "/p", { host: "example.com" })).toMatchObject({
        port: 80,
        scheme: "http",
        host: "example.com",
        url: "http://example.com/p",
      });
      expect(await address(subject, "/p", { host: "example.com", "x-forwarded-proto": "https" })).toMatchObject({
        port: 443,
        scheme: "https",
        url: "https://example.com/p",
      });
    },
  },
  {
    name: "a default port is left out of url",
    needs: ["url"],
    check: async (subject) => {
      expect(await address(subject, "/p", { host: "example.com:80" })).toMatchObject({
        port: 80,
        host: "example.com",
        url: "http://example.com/p",
      });
      expect(await address(subject, "/p", { host: "example.com:443", "x-forwarded-proto": "https" })).toMatchObject({
        port: 443,
        url: "https://example.com/p",
      });
    },
  },
  {
    name: "a fragment is dropped",
    needs: ["url"],
    check: async (subject) => {
      const server = await subject.server();
      const answer = await server.raw(
        `GET /p?a=b#part HTTP/1.1\r\nHost: example.com\r\nx-action: url\r\nx-open-runtimes-secret: ${SECRET}\r\nConnection: close\r\n\r\n`,
      );
      // Some servers refuse such a target, as HTTP lets them.
      if (/^HTTP\/1\.1 200/.test(answer)) {
        expect(answer).toContain('"url":"http://example.com/p?a=b"');
        expect(answer).not.toContain("part");
      } else expect(answer).toMatch(/^HTTP\/1\.[01] 4/);
    },
  },
  {
    name: "headers are lower case, repeated ones joined, the runtime's own hidden",
    needs: ["requestHeaders"],
    check: async (subject) => {
      const reply = await send(subject, {
        action: "requestHeaders",
        headers: {
          "X-Mixed-Case": "Value",
          "x-many": ["one", "two"],
          "x-open-runtimes-log-id": "headers-seen",
          "x-open-runtimes-whatever": "1",
        },
      });
      const headers = JSON.parse(reply.text) as Record<string, string>;
      expect(headers["x-mixed-case"]).toBe("Value");
      expect(headers["x-many"]).toBe("one, two");
      expect(Object.keys(headers)).toEqual(Object.keys(headers).map((name) => name.toLowerCase()));
      expect(Object.keys(headers).filter((name) => name.startsWith("x-open-runtimes-"))).toEqual([]);
    },
  },
  {
    name: "enforced headers win over what was sent",
    needs: ["requestHeaders"],
    check: async (subject) => {
      const reply = await send(subject, { action: "requestHeaders", headers: { "x-enforced": "from outside" } });
      const headers = JSON.parse(reply.text) as Record<string, string>;
      expect(headers["x-enforced"]).toBe("by the operator");
      expect(headers["x-enforced-too"]).toBe("42");
    },
  },
  {
    name: "user code sees its environment, and not the secret",
    needs: ["environment"],
    check: async (subject) => {
      const reply = await send(subject, { action: "environment" });
      expect(JSON.parse(reply.text)).toEqual({ given: "customValue", missing: null, secret: null });
    },
  },
  {
    name: "the body is an object for application/json in any case",
    needs: ["body"],
    check: async (subject) => {
      const object = { key1: "OK", key2: "👋" };
      for (const type of ["application/json", "Application/JSON; charset=utf-8"]) {
        expect(await seen(subject, JSON.stringify(object), type)).toEqual({ kind: "object", body: object });
      }
    },
  },
  {
    name: "an empty JSON body is an empty object",
    needs: ["body"],
    check: async (subject) => {
      expect(await seen(subject, "", "application/json")).toEqual({ kind: "object", body: {} });
    },
  },
  {
    name: "any other body is text",
    needs: ["body"],
    check: async (subject) => {
      expect(await seen(subject, '{"a":1}', "text/plain")).toEqual({ kind: "text", body: '{"a":1}' });
      expect(await seen(subject, "a=1&b=2", "application/x-www-form-urlencoded")).toEqual({ kind: "text", body: "a=1&b=2" });
    },
  },
  {
    name: "bodyText is the text that was sent",
    needs: ["bodyText"],
    check: async (subject) => {
      const reply = await send(subject, { action: "bodyText", body: "Grüße 👋\nsecond line" });
      expect(reply.text).toBe("Grüße 👋\nsecond line");
      expect((await send(subject, { action: "bodyText", method: "POST" })).text).toBe("");
    },
  },
  {
    name: "bodyJson works with any content type",
    needs: ["bodyJson"],
    check: async (subject) => {
      const reply = await send(subject, {
        action: "bodyJson",
        body: '{"a": [1, null, "ü"], "b": {"c": true}}',
        headers: { "content-type": "text/plain" },
      });
      expect(reply.status).toBe(200);
      expect(JSON.parse(reply.text)).toEqual({ a: [1, null, "ü"], b: { c: true } });
    },
  },
  {
    name: "bodyJson of a malformed or empty body is an error that says JSON",
    needs: ["bodyJson"],
    check: async (subject) => {
      const server = await subject.server();
      for (const body of ['{"a":', ""]) {
        const reply = await server.send({ action: "bodyJson", method: "POST", body });
        expect(reply.status).toBe(500);
        expect(reply.text).toBe("");
        expect(await server.errorsOf(reply.logId)).toMatch(/json/i);
      }
    },
  },
  {
    name: "bodyBinary is every byte that was sent",
    needs: ["bodyBinary"],
    check: async (subject) => {
      const bytes = Buffer.from(Array.from({ length: 256 * 40 }, (_, index) => index % 256));
      const reply = await send(subject, {
        action: "bodyBinary",
        body: bytes,
        headers: { "content-type": "application/octet-stream" },
      });
      expect(reply.body.equals(bytes)).toBe(true);
    },
  },
  {
    name: "a body in chunks arrives whole",
    needs: ["bodyText"],
    check: async (subject) => {
      const reply = await send(subject, { action: "bodyText", body: Readable.from(["one ", "two ", "three"]) });
      expect(reply.text).toBe("one two three");
    },
  },
  {
    name: "20 MiB are taken, one byte more is answered with 413",
    needs: ["method"],
    check: async (subject) => {
      const server = await subject.server();
      const most = await server.send({ action: "method", body: Buffer.alloc(LIMIT, "a") });
      expect(most.status).toBe(200);
      const more = await server.send({ action: "method", body: Buffer.alloc(LIMIT + 1, "a") });
      expect(more.status).toBe(413);
      expect(more.text).not.toBe("");
      expect(more.headers["content-type"]).toMatch(/^text\/plain/);
      expect((await server.send({ action: "method" })).text).toBe("GET");
    },
  },
  {
    name: "a body in chunks beyond 20 MiB is answered with 413",
    needs: ["method"],
    check: async (subject) => {
      const server = await subject.server();
      const chunk = Buffer.alloc(1024 * 1024, "a");
      const reply = await server.send({ action: "method", body: Readable.from(Array.from({ length: 21 }, () => chunk)) });
      expect(reply.status).toBe(413);
      expect((await server.send({ action: "method" })).text).toBe("GET");
    },
  },
  {
    name: "the older form gets (req, res)",
    only: "old-form",
    check: async (subject) => {
      const server = await subject.server({ function: "old-form" });
      const reply = await server.send({ body: "some payload", headers: { "x-test": "a header" } });
      expect(reply.status).toBe(201);
      expect(JSON.parse(reply.text)).toEqual({ payload: "some payload", header: "a header", env: "customValue" });
      expect(reply.headers["content-type"]).toBe("application/json; charset=utf-8");
    },
  },
  {
    name: "the older form's send answers text",
    only: "old-form",
    check: async (subject) => {
      const server = await subject.server({ function: "old-form" });
      const reply = await server.send({ body: "text" });
      expect(reply.status).toBe(202);
      expect(reply.text).toBe("text");
    },
  },
];
