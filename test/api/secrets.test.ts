// biome-ignore-all lint/suspicious/noTemplateCurlyInString: this is how values of variables refer to others.
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Place } from "../harness/place.ts";
import type { Server } from "../harness/server.ts";
import { sharedServer } from "../harness/shared-server.ts";

const server = sharedServer({ flags: { prewarmed: "1" } });
let count = 0;
const fresh = () => `s${++count}`;
const ENVIRONMENT = "module.exports = async ({ req, res }) => res.json(process.env[req.query.name] ?? null);";
const PYTHON = "import os\ndef main(context):\n    return context.res.json(os.environ.get(context.req.query['name']))";

async function save(
  workspace: string,
  settings: object = {},
  code = ENVIRONMENT,
  on: Server = server,
  name = "f",
): Promise<void> {
  const body = { contract: "handler", files: [{ path: "index.js", text: code }], settings };
  const answer = await on.send("PUT", `/api/v1/workspaces/${workspace}/functions/${name}`, body);
  expect(answer.status, answer.text).toBe(200);
}

const put = (workspace: string, path: string, value: string, on: Server = server) =>
  on.send("PUT", `/api/v1/workspaces/${workspace}/${path}`, { value });

async function seen(workspace: string, name: string, reference = "f", on: Server = server): Promise<unknown> {
  const answer = await on.send("GET", `/f/${workspace}/${reference}?name=${name}`);
  expect(answer.status, answer.text).toBe(200);
  return JSON.parse(answer.text);
}

describe("environment", () => {
  test("is the workspace's variables and the function's, whose win; changes reach calls at once", async () => {
    const workspace = fresh();
    await save(workspace);
    expect(await seen(workspace, "COLOUR")).toBeNull();
    expect((await put(workspace, "variables/COLOUR", "blue")).json).toMatchObject({ name: "COLOUR", value: "blue" });
    expect(await seen(workspace, "COLOUR")).toBe("blue");
    await put(workspace, "functions/f/variables/COLOUR", "red ☃");
    expect(await seen(workspace, "COLOUR")).toBe("red ☃");
    expect((await server.send("GET", `/api/v1/workspaces/${workspace}/variables`)).json.variables).toMatchObject([
      { name: "COLOUR", value: "blue" },
    ]);
    expect((await server.send("GET", `/api/v1/workspaces/${workspace}/functions/f/variables`)).json.variables).toMatchObject([
      { name: "COLOUR", value: "red ☃" },
    ]);
    expect((await server.send("DELETE", `/api/v1/workspaces/${workspace}/functions/f/variables/COLOUR`)).status).toBe(204);
    expect(await seen(workspace, "COLOUR")).toBe("blue");
    expect((await server.send("GET", `/api/v1/workspaces/${workspace}/functions/f`)).json.version).toBe(1);
  });

  test("reaches Python and inline functions, too", async () => {
    const workspace = fresh();
    const python = { contract: "handler", language: "python", files: [{ path: "main.py", text: PYTHON }] };
    expect((await server.send("PUT", `/api/v1/workspaces/${workspace}/functions/f`, python)).status).toBe(200);
    await put(workspace, "variables/COLOUR", "blue");
    await put(workspace, "secrets/TOKEN", "of the workspace");
    const inline = (settings: object) => ({
      functions: {
        js: { code: "return [process.env.COLOUR, process.env.TOKEN ?? null]", settings },
        py: { code: "import os\nreturn [os.environ['COLOUR'], os.environ.get('TOKEN')]", language: "python", settings },
      },
    });
    const patched = await server.send("PATCH", `/api/v1/workspaces/${workspace}`, inline({}));
    expect(patched.status, patched.text).toBe(200);
    expect(await seen(workspace, "COLOUR")).toBe("blue");
    for (const name of ["js", "py"]) expect(await server.result(workspace, name)).toEqual(["blue", null]);
    await server.send("PATCH", `/api/v1/workspaces/${workspace}`, inline({ secrets: ["TOKEN"] }));
    for (const name of ["js", "py"]) expect(await server.result(workspace, name)).toEqual(["blue", "of the workspace"]);
    expect((await put(workspace, "functions/js/variables/A", "1")).code).toBe("BAD_REQUEST");
  });

  test("has the secrets a function names and its own; values of variables may refer to them", async () => {
    const workspace = fresh();
    await save(workspace);
    await put(workspace, "secrets/DB_PASSWORD", "p@ss word");
    expect(await seen(workspace, "DB_PASSWORD")).toBeNull();
    await save(workspace, { secrets: ["DB_PASSWORD"] });
    expect(await seen(workspace, "DB_PASSWORD")).toBe("p@ss word");
    await put(workspace, "functions/f/secrets/OWN", "its own");
    expect(await seen(workspace, "OWN")).toBe("its own");
    await put(workspace, "variables/HOST", "db.example");
    await put(workspace, "variables/URL", "postgres://u:${secrets.DB_PASSWORD}@${variables.HOST}/${OTHER}");
    expect(await seen(workspace, "URL")).toBe("postgres://u:p@ss word@db.example/${OTHER}");
    await put(workspace, "functions/f/variables/HOST", "own.example");
    expect(await seen(workspace, "URL")).toBe("postgres://u:p@ss word@own.example/${OTHER}");
    await put(workspace, "secrets/DB_PASSWORD", "rotated");
    expect(await seen(workspace, "URL")).toBe("postgres://u:rotated@own.example/${OTHER}");
    expect(await seen(workspace, "DB_PASSWORD")).toBe("rotated");
    await save(workspace, { secrets: ["DB_PASSWORD"] }, `${ENVIRONMENT}// again`);
    expect(await seen(workspace, "DB_PASSWORD", "f@1")).toBe("rotated");
    await put(workspace, "secrets/DB_PASSWORD", "again");
    expect(await seen(workspace, "DB_PASSWORD", "f@1")).toBe("again");
    expect(await seen(workspace, "URL", "f@1")).toBe("postgres://u:again@own.example/${OTHER}");
  });

  test("without something it names is an error, never a literal, and no change takes it away from a function", async () => {
    const workspace = fresh();
    const body = { contract: "handler", files: [{ path: "index.js", text: ENVIRONMENT }], settings: { secrets: ["NOT_SET"] } };
    const refused = await server.send("PUT", `/api/v1/workspaces/${workspace}/functions/f`, body);
    expect([refused.status, refused.code]).toEqual([422, "UNRESOLVED_SECRET"]);
    await save(workspace);
    for (const value of ["${secrets.NOT_SET}", "${variables.NOT_SET}", "${secrets.}", "${secrets.a b}", "${variables.LOOP}"])
      expect((await put(workspace, "variables/LOOP", value)).code, value).toBe("UNRESOLVED_SECRET");
    await put(workspace, "secrets/NEEDED", "value");
    await put(workspace, "variables/USES", "<${secrets.NEEDED}>");
    expect((await server.send("DELETE", `/api/v1/workspaces/${workspace}/secrets/NEEDED`)).code).toBe("UNRESOLVED_SECRET");
    expect(await seen(workspace, "USES")).toBe("<value>");
    expect((await put(workspace, "variables/NEEDED", "x")).code).toBe("CONFLICT");
    expect((await put(workspace, "secrets/USES", "x")).code).toBe("CONFLICT");
    expect((await server.send("DELETE", `/api/v1/workspaces/${workspace}/variables/USES`)).status).toBe(204);
    expect((await server.send("DELETE", `/api/v1/workspaces/${workspace}/secrets/NEEDED`)).status).toBe(204);
    expect((await server.send("DELETE", `/api/v1/workspaces/${workspace}/secrets/NEEDED`)).code).toBe("UNKNOWN_VARIABLE");
  });

  test("takes no names that steer the runtime, no values it cannot hold, and grows no larger than it may", async () => {
    const workspace = fresh();
    await save(workspace);
    const names = [
      "1A",
      "A-B",
      "TREADLE_X",
      "OPEN_RUNTIMES_SECRET",
      "LD_PRELOAD",
      "NODE_OPTIONS",
      "PATH",
      "__proto__",
      "%20",
      "ü",
    ];
    for (const name of names) {
      expect((await put(workspace, `variables/${encodeURIComponent(name)}`, "x")).code, name).toBe("BAD_REQUEST");
      expect((await put(workspace, `secrets/${encodeURIComponent(name)}`, "x")).code, name).toBe("BAD_REQUEST");
    }
    for (const value of ["\0", "\ud800", "x".repeat(65_537), "ü".repeat(40_000)])
      expect((await put(workspace, "variables/A", value)).code).toBe("BAD_REQUEST");
    const long = "y".repeat(65_536);
    expect((await put(workspace, "variables/LONG", long)).status).toBe(200);
    expect(await seen(workspace, "LONG")).toBe(long);
    expect((await put(workspace, "variables/A0", "x".repeat(1_000))).status).toBe(200);
    expect((await put(workspace, "variables/A1", "${variables.A0}".repeat(100))).status).toBe(200);
    expect((await put(workspace, "variables/A2", "${variables.A1}".repeat(4_000))).code).toBe("BAD_REQUEST");
    for (const [method, path] of [
      ["GET", "/api/v1/workspaces/none/secrets"],
      ["PUT", "/api/v1/workspaces/none/secrets/A"],
      ["GET", `/api/v1/workspaces/${workspace}/functions/none/variables`],
      ["PUT", `/api/v1/workspaces/${workspace}/functions/none/variables/A`],
    ] as const)
      expect((await server.send(method, path, method === "PUT" ? { value: "x" } : undefined)).code).toMatch(
        /UNKNOWN_(WORKSPACE|FUNCTION)/,
      );
  });
});

test("secrets go nowhere: not into answers, logs, errors, records, the server's log or files", { timeout: 60_000 }, async () => {
  const workspace = fresh();
  const secret = `hunter2/${randomBytes(12).toString("hex")}+&"x`;
  await save(workspace);
  await put(workspace, "secrets/TOKEN", secret);
  const code = `const forms = (token) => [token, "Basic " + Buffer.from("user:" + token).toString("base64"), "?q=" + encodeURIComponent(token), JSON.stringify({ token })];
module.exports = async ({ req, res, log, error }) => {
  const token = process.env.TOKEN;
  for (const form of forms(token)) { log(form); error("e " + form); console.log(form); }
  process.stdout.write("native " + token + "\\n");
  if (req.query.throw) throw new Error("no use for " + token);
  return res.text(String(token.length));
};`;
  await save(workspace, { secrets: ["TOKEN"] }, code);
  expect((await server.send("GET", `/f/${workspace}/f`)).text).toBe(String(secret.length));
  expect((await server.send("GET", `/f/${workspace}/f?throw=1`)).status).toBe(500);
  const inline = {
    code: "console.log(process.env.TOKEN); throw new Error(`bad ${process.env.TOKEN}`)",
    settings: { secrets: ["TOKEN"] },
  };
  await server.send("PATCH", `/api/v1/workspaces/${workspace}`, { functions: { inline } });
  const thrown = await server.run(workspace, "inline");
  expect(thrown.code).toBe("THREW");
  expect(thrown.json.error?.message).toContain("bad ***");
  const executions = async () => (await server.send("GET", `/api/v1/executions?workspace=${workspace}`)).text;
  await expect.poll(executions).toMatch(/"function":"inline"/);
  const texts = [
    thrown.text,
    await executions(),
    (await server.send("GET", "/api/v1/instances")).text,
    (await server.send("GET", `/api/v1/workspaces/${workspace}/secrets`)).text,
    (await server.send("GET", `/api/v1/workspaces/${workspace}`)).text,
    (await put(workspace, "variables/TOKEN", "y")).text,
    (await put(workspace, "secrets/TOKEN", `${secret}\0`)).text,
    server.log,
  ];
  expect(texts[1]).toContain("***");
  const core = secret.slice(0, 30);
  const forms = [core, encodeURIComponent(core), Buffer.from(`user:${secret}`).toString("base64").slice(8, 40)];
  for (const [index, text] of texts.entries()) {
    for (const form of forms) expect(text.includes(form), `text ${index} has ${form}`).toBe(false);
  }
  const onDisk = readdirSync(join(server.dataDirectory), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.parentPath.includes("database"))
    .some((entry) => readFileSync(join(entry.parentPath, entry.name)).includes(core));
  expect(onDisk).toBe(false);
});

test("another key than the one secrets were sealed with makes them unreadable, and only those who need them fail", {
  timeout: 120_000,
}, async () => {
  await using place = new Place();
  const first = await place.start({ prewarmed: "0" }, { TREADLE_SECRET_KEY: "11".repeat(32) });
  await save("w", {}, ENVIRONMENT, first);
  await put("w", "secrets/TOKEN", "sealed with ones", first);
  await save("w", { secrets: ["TOKEN"] }, ENVIRONMENT, first, "g");
  expect(await seen("w", "TOKEN", "g", first)).toBe("sealed with ones");
  place.observe();
  await first.stop();
  const second = await place.start({ prewarmed: "0" }, { TREADLE_SECRET_KEY: "22".repeat(32) });
  const answer = await second.send("GET", "/f/w/g?name=TOKEN");
  expect([answer.status, answer.code]).toEqual([503, "SECRET_UNREADABLE"]);
  expect(await seen("w", "TOKEN", "f", second)).toBeNull();
  expect((await put("w", "secrets/TOKEN", "sealed with twos", second)).status).toBe(200);
  expect(await seen("w", "TOKEN", "g", second)).toBe("sealed with twos");
  place.observe();
  await second.stop();
  expect(await place.leftovers()).toEqual([]);
});
