import { expect, test } from "vitest";
import { startFission } from "./fission-server.ts";
import { folderOf } from "./node-server.ts";
import { pythonCommand } from "./python-server.ts";

const start = (code: string) => startFission(pythonCommand("http"), code);

test("a generic container takes no requests, is specialised once, then serves any path", async () => {
  using folder = folderOf({
    user: `from flask import request, jsonify
def main():
    print("called")
    return jsonify(method=request.method, path=request.path, a=request.args.get("a"), body=request.get_json(), agent=request.headers.get("X-Agent")), 201, {"X-Made": "yes"}
`,
  });
  await using server = await start(`${folder.path}/user`);
  expect((await server.send("GET", "/healthz")).status).toBe(200);
  const early = await server.send("GET", "/");
  expect([early.status, early.text]).toEqual([500, "Generic container: no requests supported"]);
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
  expect(JSON.parse(answer.text)).toEqual({ method: "POST", path: "/some/path", a: "b c", body: { x: 1 }, agent: "me" });
  await expect.poll(() => server.stdout()).toContain('"text":"called"');
});

test("the second form names module and function; a failure leaves the container generic", async () => {
  using folder = folderOf({
    "main.py":
      "from flask import request, abort\nimport neighbour\ndef greet():\n    if not request.form:\n        abort(418, 'no form')\n    return neighbour.hello + request.form['name']\n",
    "neighbour.py": "hello = 'Hello '\n",
    "broken.py": "def main(:\n",
    "deep/ours.py": "async def handle(context):\n    return context.res.text(context.req.body_text, 202)\n",
  });
  await using server = await start(folder.path);
  const body = (functionName: string) => JSON.stringify({ filepath: folder.path, functionName });
  for (const name of ["broken.main", "missing.main", "nothing"]) {
    expect((await server.send("POST", "/v2/specialize", body(name))).status, name).toBe(500);
  }
  expect((await server.send("POST", "/v2/specialize", "no JSON")).status).toBe(500);
  expect((await server.send("GET", "/")).text).toBe("Generic container: no requests supported");
  expect((await server.send("POST", "/v2/specialize", body("greet"))).status).toBe(202);
  const answer = await server.send("POST", "/", "name=you", { "content-type": "application/x-www-form-urlencoded" });
  expect([answer.status, answer.text, answer.headers["content-type"]]).toEqual([200, "Hello you", "text/html; charset=utf-8"]);
  const aborted = await server.send("GET", "/");
  expect([aborted.status, aborted.text]).toEqual([418, "no form"]);

  await using other = await start(folder.path);
  expect((await other.send("POST", "/v2/specialize", body("deep.ours.handle"))).status).toBe(202);
  const own = await other.send("POST", "/", "as our handlers");
  expect([own.status, own.text]).toEqual([202, "as our handlers"]);
});

test("a function that throws is 500, and its log says why", async () => {
  using folder = folderOf({ user: "def main():\n    raise ValueError('broken on purpose')\n" });
  await using server = await start(`${folder.path}/user`);
  expect((await server.send("POST", "/specialize")).status).toBe(202);
  expect((await server.send("GET", "/")).status).toBe(500);
  await expect.poll(() => server.stdout()).toContain("broken on purpose");
});
