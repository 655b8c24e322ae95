import { describe, expect, test } from "vitest";
import type { Server } from "../harness/server.ts";
import { sharedServer } from "../harness/shared-server.ts";

const KEY = "0123456789abcdef0123456789abcdef";
const AUTHORIZATION = { authorization: `Bearer ${KEY}` };
const ECHO = `module.exports = ({ req, res }) => res.json({ path: req.path, query: req.queryString, headers: req.headers });`;
const SCRIPT = `exports.handle = (data) => ({ ...data, payload: (data.payload ?? "").toUpperCase(), variables: { ...data.variables, n: (data.variables?.n ?? 0) + 1 } });`;

async function save(server: Server, headers: Record<string, string>): Promise<void> {
  const put = async (name: string, body: object) => {
    const answer = await server.send("PUT", `/api/v1/workspaces/w/functions/${name}`, body, { headers });
    if (answer.status !== 200) throw new Error(`${name}: ${answer.status} ${answer.text}`);
  };
  const files = [{ path: "index.js", text: ECHO }];
  await put("private", { contract: "handler", files });
  await put("public", { contract: "handler", files, settings: { public: true } });
  await put("script", { contract: "script", files: [{ path: "index.js", text: SCRIPT }] });
}

describe("with a key", () => {
  const server: Server = sharedServer({ environment: { TREADLE_ADMIN_KEY: KEY }, prepare: () => save(server, AUTHORIZATION) });

  test("a function needs it, unless it is public", async () => {
    const refused = await server.send("GET", "/f/w/private/x");
    expect([refused.status, refused.code]).toEqual([401, "UNAUTHORIZED"]);
    expect((await server.send("GET", "/f/w/private/x", undefined, { headers: { authorization: "Bearer wrong" } })).status).toBe(
      401,
    );
    expect((await server.send("GET", "/f/w/private/x", undefined, { headers: AUTHORIZATION })).status).toBe(200);
    expect((await server.send("GET", "/f/w/public/x")).status).toBe(200);
  });

  test("who has none is not told what there is", async () => {
    for (const path of ["/f/w/nothing", "/f/nowhere/nothing", "/f/w/script", "/f/w/private"])
      expect([path, (await server.send("GET", path)).code]).toEqual([path, "UNAUTHORIZED"]);
  });

  test("it is never passed on to user code; a key of the function's own is", async () => {
    const withKey = await server.send("GET", "/f/w/public/x", undefined, { headers: AUTHORIZATION });
    expect((withKey.json.headers as Record<string, string>).authorization).toBeUndefined();
    const withOther = await server.send("GET", "/f/w/public/x", undefined, { headers: { authorization: "Bearer other" } });
    expect((withOther.json.headers as Record<string, string>).authorization).toBe("Bearer other");
  });

  test("pages of other origins may call public functions only", async () => {
    const page = { origin: "https://other.example", "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors" };
    expect((await server.send("POST", "/f/w/public/x", "x", { headers: page })).status).toBe(200);
    expect((await server.send("OPTIONS", "/f/w/public/x", undefined, { headers: page })).status).toBe(200);
    const answer = await server.send("POST", "/f/w/private/x", "x", { headers: { ...page, ...AUTHORIZATION } });
    expect([answer.status, answer.code]).toEqual([403, "CROSS_ORIGIN"]);
  });
});

describe("without a key", () => {
  const server: Server = sharedServer({ prepare: () => save(server, {}) });

  test("functions are for this machine's programs only, public ones too", async () => {
    for (const name of ["private", "public"]) {
      const answer = await server.send("GET", `/f/w/${name}/x`, undefined, { headers: { host: "evil.example" } });
      expect([answer.status, answer.code]).toEqual([403, "FOREIGN_HOST"]);
    }
  });

  test("a script is called by POST with JSON, and answers JSON", async () => {
    const answer = await server.send("POST", "/f/w/script", {
      payload: "hello",
      variables: { n: 1 },
      meta: {},
      flow: { variables: {} },
    });
    expect([answer.status, answer.json]).toMatchObject([200, { payload: "HELLO", variables: { n: 2 } }]);
    expect(answer.headers["x-treadle-execution"]).toBeDefined();
    expect([(await server.send("GET", "/f/w/script")).code, (await server.send("POST", "/f/w/script", "[1]")).code]).toEqual([
      "BAD_REQUEST",
      "BAD_REQUEST",
    ]);
  });

  describe("custom domains", () => {
    const put = (host: string, body: object) => server.send("PUT", `/api/v1/domains/${host}`, body);
    const at = (host: string, path: string) => server.send("GET", path, undefined, { headers: { host } });

    test("a host goes to its function, with the whole path, and not before", async () => {
      expect((await at("shop.example", "/")).code).toBe("FOREIGN_HOST");
      const made = await put("Shop.Example", { workspace: "w", function: "public" });
      expect([made.status, made.json]).toMatchObject([
        200,
        { host: "shop.example", workspace: "w", function: "public", reference: null },
      ]);
      for (const host of ["shop.example", "SHOP.example:8080", "shop.example."])
        expect([host, (await at(host, "/api/v1/workspaces?a=b")).json]).toMatchObject([
          host,
          { path: "/api/v1/workspaces", query: "a=b" },
        ]);
      expect((await server.send("GET", "/api/v1/domains")).json.domains).toHaveLength(1);
      expect((await server.send("GET", "/api/v1/domains/shop.example")).status).toBe(200);
      expect((await put("shop.example", { workspace: "w", function: "private" })).status).toBe(200);
      expect((await at("shop.example", "/x")).json.path).toBe("/x");
      expect((await server.send("DELETE", "/api/v1/domains/shop.example")).status).toBe(204);
      expect((await at("shop.example", "/")).code).toBe("FOREIGN_HOST");
      expect((await server.send("DELETE", "/api/v1/domains/shop.example")).code).toBe("UNKNOWN_DOMAIN");
    });

    test.each(["localhost", "127.0.0.1", "[::1]", "a b.example", "-x.example", "x", "x.example:80", "xn--.", "a..b"])(
      "%s is none",
      async (host) => {
        const answer = await put(encodeURIComponent(host), { workspace: "w", function: "public" });
        expect([answer.status, answer.code]).toEqual([400, "BAD_REQUEST"]);
      },
    );

    test("there must be a function, and when it goes its domain goes with it", async () => {
      expect((await put("a.example", { workspace: "w", function: "nothing" })).code).toBe("UNKNOWN_FUNCTION");
      expect((await put("a.example", { workspace: "nowhere", function: "public" })).code).toBe("UNKNOWN_WORKSPACE");
      const files = [{ path: "index.js", text: ECHO }];
      await server.send("PUT", "/api/v1/workspaces/w/functions/short-lived", { contract: "handler", files });
      await put("a.example", { workspace: "w", function: "short-lived" });
      expect((await at("a.example", "/")).status).toBe(200);
      await server.send("DELETE", "/api/v1/workspaces/w/functions/short-lived");
      expect((await at("a.example", "/")).code).toBe("UNKNOWN_FUNCTION");
      await expect.poll(async () => (await at("a.example", "/")).code, { timeout: 3_000 }).toBe("FOREIGN_HOST");
    });
  });
});
