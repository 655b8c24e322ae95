import { expect, test } from "vitest";
import { startFission } from "./fission-server.ts";
import { folderOf, nodeCommand } from "./node-server.ts";

const start = async (code: string) => startFission(await nodeCommand("http"), code);

test("a generic container takes no requests, is specialised once, then serves any path", async () => {
  using folder = folderOf({
    user: `module.exports = async function (context) {
      const { method, path, query, body } = context.request;
      console.log("called");
      return { status: 201, body: { method, path, query, body, agent: context.request.get("X-Agent") }, headers: { "X-Made": "yes" } };
    };`,
  });
  await using server = await start(`${folder.path}/user`);
  const early = await server.send("GET", "/");
  expect([early.status, early.text]).toEqual([500, "Generic container: no requests supported"]);
  expect((await server.send("GET", "/specialize")).status).toBe(500);
  const specialized = await server.send("POST", "/specialize");
  expect([specialized.status, specialized.text]).toEqual([202, ""]);
  for (const path of ["/specialize", "/v2/specialize"]) {
    const again = await server.send("POST", path, "{}");
    expect([again.status, again.text]).toEqual([400, "Not a generic container"]);
  }
  const answer = await server.send("POST", "/some/path?a=b%20c", '{"x":1}', {
    "content-type": "application/json",
    "x-agent": "me",
  });
  expect(answer.status).toBe(201);
  expect(answer.headers["x-made"]).toBe("yes");
  expect(answer.headers["content-type"]).toBe("application/json; charset=utf-8");
  expect(JSON.parse(answer.text)).toEqual({
    method: "POST",
    path: "/some/path",
    query: { a: "b c" },
    body: { x: 1 },
    agent: "me",
  });
  await expect.poll(() => server.stdout()).toContain('"text":"called"');
});

test("the second form names file and function; a failure leaves the container generic", async () => {
  using folder = folderOf({
    "hello.js":
      "module.exports.greet = (context, callback) => callback(200, 'Hello ' + context.request.body.name, { 'x-a': 'b' });",
    "broken.js": "module.exports = (",
    "ours.js": "module.exports = ({ req, res }) => res.text(req.bodyText, 202);",
  });
  await using server = await start(folder.path);
  const specialize = (functionName: string, filepath = folder.path) =>
    server.send("POST", "/v2/specialize", JSON.stringify({ filepath, functionName }), { "content-type": "application/json" });
  for (const name of ["broken", "missing", "hello.nothing"]) expect((await specialize(name)).status, name).toBe(500);
  expect((await server.send("POST", "/v2/specialize", "no JSON")).status).toBe(500);
  expect((await server.send("GET", "/")).text).toBe("Generic container: no requests supported");
  expect((await specialize("hello.greet")).status).toBe(202);
  const answer = await server.send("POST", "/", "name=you", { "content-type": "application/x-www-form-urlencoded" });
  expect([answer.status, answer.text, answer.headers["x-a"]]).toEqual([200, "Hello you", "b"]);
  expect(answer.headers["content-type"]).toBe("text/html; charset=utf-8");

  await using other = await start(folder.path);
  expect(
    (await other.send("POST", "/v2/specialize", JSON.stringify({ filepath: `${folder.path}/ours.js`, functionName: "" }))).status,
  ).toBe(202);
  const own = await other.send("POST", "/", "as our handlers");
  expect([own.status, own.text]).toEqual([202, "as our handlers"]);
});

test("a function that throws, returns nothing, or answers through the response", async () => {
  using folder = folderOf({
    user: `module.exports = async (context) => {
      if (context.request.path === "/throw") throw new Error("broken on purpose");
      if (context.request.path === "/send") { context.response.status(203).set("x-b", "c").send("sent"); return; }
    };`,
  });
  await using server = await start(`${folder.path}/user`);
  expect((await server.send("POST", "/specialize")).status).toBe(202);
  for (const path of ["/throw", "/nothing"]) {
    const failed = await server.send("GET", path);
    expect([failed.status, failed.text]).toEqual([500, "Internal server error"]);
  }
  await expect.poll(() => server.stdout()).toContain("broken on purpose");
  const sent = await server.send("GET", "/send");
  expect([sent.status, sent.text, sent.headers["x-b"]]).toEqual([203, "sent", "c"]);
});
