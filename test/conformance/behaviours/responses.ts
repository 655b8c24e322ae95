import { expect } from "vitest";
import type { Behaviour } from "../behaviour.ts";

/** A behaviour that calls one action and looks at the answer. */
function answers(name: string, action: string, look: (reply: Awaited<ReturnType<typeof sent>>) => void): Behaviour {
  return { name, needs: [action], check: async (subject) => look(await sent(subject, action)) };
}

async function sent(subject: Parameters<Behaviour["check"]>[0], action: string, headers: Record<string, string> = {}) {
  return (await subject.server()).send({ action, headers });
}

/** What res.text, res.json and their kin become on the wire. */
export const RESPONSES: readonly Behaviour[] = [
  answers("text is answered as UTF-8", "plainText", (reply) => {
    expect(reply.status).toBe(200);
    expect(reply.text).toBe("Hello World 👋");
    expect(reply.headers["content-type"]).toBe("text/plain; charset=utf-8");
  }),
  answers("json is compact and typed", "json", (reply) => {
    expect(reply.status).toBe(200);
    expect(reply.text).toBe('{"json":true,"message":"Developers are awesome."}');
    expect(reply.headers["content-type"]).toBe("application/json; charset=utf-8");
  }),
  answers("a charset that is given stays", "charset", (reply) => {
    expect(reply.headers["content-type"]).toBe("text/plain; charset=iso-8859-1");
    expect(reply.text).toBe("ok");
  }),
  answers("a content type becomes lower case and gets a charset", "upperCaseType", (reply) => {
    expect(reply.headers["content-type"]).toBe("text/html; charset=utf-8");
  }),
  answers("multipart gets no charset", "multipart", (reply) => {
    expect(reply.headers["content-type"]).toBe("multipart/form-data; boundary=12345");
    expect(reply.text).toBe("--x--");
  }),
  answers("redirect is 301 with a location", "redirect", (reply) => {
    expect(reply.status).toBe(301);
    expect(reply.headers.location).toBe("https://example.com/there");
    expect(reply.text).toBe("");
  }),
  answers("empty is 204 without a body", "empty", (reply) => {
    expect(reply.status).toBe(204);
    expect(reply.body.length).toBe(0);
  }),
  answers("binary keeps every byte", "binary", (reply) => {
    expect(reply.status).toBe(200);
    expect([...reply.body]).toEqual([0, 10, 255]);
    expect(reply.headers["content-type"]).toMatch(/^application\/octet-stream/);
  }),
  answers("the returned response counts, not the last one made", "double", (reply) => {
    expect(reply.text).toBe("This should be returned.");
  }),
  {
    name: "an unknown action is answered with the function's own 404",
    check: async (subject) => {
      const reply = await sent(subject, "noSuchAction");
      expect(reply.status).toBe(404);
      expect(reply.text).toBe("Unknown action");
    },
  },
  {
    name: "headers of the answer go out, the runtime's own do not",
    needs: ["headers"],
    check: async (subject) => {
      const reply = await sent(subject, "headers", { "x-open-runtimes-custom-in-header": "in", cookie: "a=1; b=2" });
      expect(reply.text).toBe("OK");
      expect(reply.headers["first-header"]).toBe("first-value");
      expect(reply.headers["second-header"]).toBe("missing");
      expect(reply.headers["third-header"]).toBe("a=1; b=2");
      expect(reply.headers["x-open-runtimes-custom-out-header"]).toBeUndefined();
    },
  },
  {
    name: "names of headers in the answer are lower case",
    needs: ["headers", "lower-case-names"],
    check: async (subject) => {
      const { rawHeaders } = await sent(subject, "headers");
      const own = rawHeaders
        .filter((_, index) => index % 2 === 0)
        .filter((name) => /^(first|second|third)-header$|^x-|^content-type$/i.test(name));
      expect(own).toEqual(own.map((name) => name.toLowerCase()));
      expect(own).toContain("first-header");
    },
  },
  answers("several cookies are several headers", "setCookie", (reply) => {
    expect([...(reply.headers["set-cookie"] ?? [])].sort()).toEqual(["a=1; Path=/", "b=2; HttpOnly"]);
  }),
  ...[200, 201, 299, 404, 418, 500, 599].map(
    (status): Behaviour => ({
      name: `status ${status} is answered as it is`,
      needs: ["status"],
      check: async (subject) => {
        const reply = await sent(subject, "status", { "x-status": String(status) });
        expect(reply.status).toBe(status);
        expect(reply.text).toBe("status");
      },
    }),
  ),
  {
    name: "an impossible status is 500",
    needs: ["status"],
    check: async (subject) => {
      const reply = await sent(subject, "status", { "x-status": "1000" });
      expect(reply.status).toBe(500);
      expect((await sent(subject, "plainText")).status).toBe(200);
    },
  },
  {
    name: "5 MiB are answered whole",
    needs: ["large"],
    check: async (subject) => {
      const reply = await sent(subject, "large", { "x-size": String(5 * 1024 * 1024) });
      expect(reply.body.length).toBe(5 * 1024 * 1024);
      expect(reply.body.every((byte) => byte === 97)).toBe(true);
    },
  },
  {
    name: "HEAD is answered without a body",
    needs: ["plainText"],
    check: async (subject) => {
      const server = await subject.server();
      const reply = await server.send({ method: "HEAD", action: "plainText" });
      expect(reply.status).toBe(200);
      expect(reply.body.length).toBe(0);
      expect((await server.send({ action: "plainText" })).text).toBe("Hello World 👋");
    },
  },
  answers("files beside the entry file can be read", "file", (reply) => {
    expect(reply.text).toBe("data\n");
  }),
];
