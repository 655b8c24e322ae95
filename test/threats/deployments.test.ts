import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { openStore } from "@treadle/store";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { layHostBait } from "../harness/host-bait.ts";
import { sendBytes } from "../harness/http.ts";
import { Place } from "../harness/place.ts";
import type { Server } from "../harness/server.ts";
import { sharedServer } from "../harness/shared-server.ts";

const run = promisify(execFile);
const bait = await layHostBait();
const server = sharedServer({
  flags: { prewarmed: "1", "source-max-size": "20mb" },
  environment: { TREADLE_TEST_SECRET: bait.secret },
});
afterAll(async () => {
  expect(bait.connections()).toBe(0);
  await bait[Symbol.asyncDispose]();
});

const at = (workspace: string, name = "f") => `/api/v1/workspaces/${workspace}/functions/${name}`;

async function packed(files: Readonly<Record<string, string>>, options: readonly string[] = []): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), "treadle-source-"));
  try {
    for (const [path, text] of Object.entries(files)) await writeFile(join(folder, path), text);
    const args = ["-czf", "-", "-C", folder, ...options, ...Object.keys(files)];
    return (await run("tar", args, { encoding: "buffer", maxBuffer: 100_000_000 })).stdout;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Deploys, and waits until it can be called or has failed. The log of its build is in the answer. */
async function deploy(on: Server, workspace: string, files: Readonly<Record<string, string>>, name = "f") {
  const posted = await on.send("POST", `${at(workspace, name)}/deployments`, await packed(files), {
    headers: { "content-type": "application/gzip" },
  });
  expect(posted.status, posted.text).toBe(202);
  for (;;) {
    const { json, text } = await on.send("GET", `${at(workspace, name)}/deployments/latest`);
    const ended = json.state !== "queued" && json.state !== "building";
    if (ended && (json.state !== "ready" || json.active || json.activationError !== null)) {
      const log = await on.send("GET", `${at(workspace, name)}/deployments/latest/log`);
      return { state: json.state, active: json.active, text, log: log.text };
    }
    await sleep(50);
  }
}

/** What a function looks for: texts in any file it can read, places it can list, sockets it can connect to. */
interface Hunt {
  readonly texts: readonly string[];
  readonly places: readonly string[];
  readonly sockets: readonly string[];
}

const HUNTERS: Readonly<Record<string, { readonly file: string; readonly code: string }>> = {
  node: {
    file: "index.js",
    code: `const fs = require("node:fs"), net = require("node:net");
const found = [];
const look = (path, texts) => { let bytes; try { const status = fs.statSync(path); if (!status.isFile() || status.size > 300000) return; bytes = fs.readFileSync(path, "latin1"); } catch { return; } for (const text of texts) if (bytes.includes(text)) found.push(path); };
const walk = (folder, texts, depth) => { let entries; try { entries = fs.readdirSync(folder || "/", { withFileTypes: true }); } catch { return; }
  for (const entry of entries) { const path = folder + "/" + entry.name; if (entry.isDirectory()) { if (depth < 9 && !/^\\/(proc|sys|usr|lib|lib64)$/.test(path)) walk(path, texts, depth + 1); } else look(path, texts); } };
module.exports = async ({ req, res }) => {
  const { texts, places, sockets } = req.bodyJson;
  found.length = 0;
  walk("", texts, 0);
  for (const pid of fs.readdirSync("/proc").filter((name) => /^\\d+$|^self$/.test(name))) {
    for (const file of ["environ", "cmdline", "mountinfo"]) { let text = ""; try { text = fs.readFileSync("/proc/" + pid + "/" + file, "latin1"); } catch {} for (const each of texts) if (text.includes(each)) found.push("/proc/" + pid + "/" + file); }
    if (pid !== "self") walk("/proc/" + pid + "/cwd", texts, 6);
  }
  if (process.env.OPEN_RUNTIMES_SECRET !== undefined) found.push("environment");
  for (const value of Object.values(process.env)) if (texts.includes(value)) found.push("environment " + value);
  for (const place of places) for (const prefix of ["", "/proc/1/root", "/proc/self/root", "/tmp/../../.."]) { try { fs.readdirSync(prefix + place); found.push(prefix + place); } catch {} }
  for (const socket of sockets) if (await new Promise((done) => net.connect(socket, () => done(true)).on("error", () => done(false)))) found.push(socket);
  return res.json({ hunted: true, found });
};`,
  },
  python: {
    file: "main.py",
    code: `import os, re, socket
def main(context):
    asked = context.req.body_json
    texts, found = [text.encode() for text in asked["texts"]], []
    def look(path):
        try:
            if os.path.isfile(path) and os.path.getsize(path) < 300000:
                content = open(path, "rb").read()
                found.extend(path for text in texts if text in content)
        except OSError:
            pass
    for folder, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in ("/proc", "/sys", "/usr", "/lib", "/lib64")]
        for name in files:
            look(os.path.join(folder, name))
    for pid in [name for name in os.listdir("/proc") if re.match(r"\\d+$|self$", name)]:
        for file in ("environ", "cmdline", "mountinfo"):
            try:
                content = open(f"/proc/{pid}/{file}", "rb").read()
            except OSError:
                continue
            found.extend(f"/proc/{pid}/{file}" for text in texts if text in content)
    found.extend(name for name, value in os.environ.items() if value.encode() in texts or name == "OPEN_RUNTIMES_SECRET")
    for place in asked["places"]:
        for prefix in ("", "/proc/1/root", "/proc/self/root", "/tmp/../../.."):
            try:
                os.listdir(prefix + place)
                found.append(prefix + place)
            except OSError:
                pass
    for path in asked["sockets"]:
        try:
            socket.socket(socket.AF_UNIX).connect(path)
            found.append(path)
        except OSError:
            pass
    return context.res.json({"hunted": True, "found": found})
`,
  },
  php: {
    file: "index.php",
    code: `<?php
function walk($folder, $texts, &$found, $depth) {
    foreach (@scandir($folder === '' ? '/' : $folder) ?: [] as $name) {
        if ($name === '.' || $name === '..') continue;
        $path = "$folder/$name";
        if (is_link($path)) continue;
        if (is_dir($path)) { if ($depth < 9 && !in_array($path, ['/proc', '/sys', '/usr', '/lib', '/lib64'])) walk($path, $texts, $found, $depth + 1); }
        elseif (is_file($path) && @filesize($path) < 300000) { $content = (string) @file_get_contents($path); foreach ($texts as $text) if (str_contains($content, $text)) $found[] = $path; }
    }
}
return function ($context) {
    $asked = json_decode($context->req->bodyText, true);
    $found = [];
    walk('', $asked['texts'], $found, 0);
    foreach (scandir('/proc') as $pid) {
        if (!preg_match('/^(\\d+|self)$/', $pid)) continue;
        foreach (['environ', 'cmdline', 'mountinfo'] as $file) {
            $content = (string) @file_get_contents("/proc/$pid/$file");
            foreach ($asked['texts'] as $text) if (str_contains($content, $text)) $found[] = "/proc/$pid/$file";
        }
    }
    foreach (getenv() as $name => $value) if ($name === 'OPEN_RUNTIMES_SECRET' || in_array($value, $asked['texts'], true)) $found[] = $name;
    foreach ($asked['places'] as $place) foreach (['', '/proc/1/root', '/proc/self/root', '/tmp/../../..'] as $prefix) if (@scandir($prefix . $place) !== false) $found[] = $prefix . $place;
    foreach ($asked['sockets'] as $path) if (@stream_socket_client("unix://$path", $code, $message, 1) !== false) $found[] = $path;
    return $context->res->json(['hunted' => true, 'found' => $found]);
};
`,
  },
};

async function isThere(language: string): Promise<boolean> {
  const { available } = (await server.send("GET", "/api/v1/runtimes")).json as unknown as { available: { language: string }[] };
  return available.some((each) => each.language === language);
}

describe("one deployment and another", () => {
  const mark = `mark-of-the-victim-${randomBytes(8).toString("hex")}`;
  const variable = `variable-of-the-victim-${randomBytes(8).toString("hex")}`;
  beforeAll(async () => {
    const victim = `module.exports = async ({ res }) => res.text("${mark}".length + process.env.SECRET_THING.length + "");`;
    const made = await deploy(server, "victim", { "index.js": victim, "notes.txt": mark });
    expect(made.state).toBe("ready");
    await server.send("PUT", "/api/v1/workspaces/victim/functions/f/secrets/SECRET_THING", { value: variable });
    await server.send("PUT", "/api/v1/workspaces/victim/variables/THING", { value: variable });
    const answer = await server.send("GET", "/f/victim/f");
    expect([answer.status, answer.text]).toEqual([200, String(mark.length + variable.length)]);
  });

  test.for(Object.keys(HUNTERS))("a function in %s finds nothing of it", { timeout: 120_000 }, async (language, context) => {
    if (!(await isThere(language))) return context.skip(`this machine has no ${language}`);
    const { file, code } = HUNTERS[language] as { file: string; code: string };
    const own = `own-${randomBytes(8).toString("hex")}`;
    const made = await deploy(server, `hunter-${language}`, { [file]: code, "own.txt": own });
    expect(made.active, made.text + made.log).toBe(true);
    // The victim is alive while it is looked for.
    expect((await server.send("GET", "/f/victim/f")).status).toBe(200);
    const root = server.dataDirectory;
    const entries = readdirSync(root, { recursive: true, withFileTypes: true });
    const hunt: Hunt = {
      texts: [mark, variable, bait.secret, own],
      places: [root, ...["layers", "sandbox", "sandbox/run", "builds", "files", "database"].map((name) => join(root, name))],
      sockets: entries.filter((entry) => entry.isSocket()).map((entry) => join(entry.parentPath, entry.name)),
    };
    expect(existsSync(join(root, "layers"))).toBe(true);
    for (const each of readdirSync(join(root, "layers"))) (hunt.places as string[]).push(join(root, "layers", each));
    const answer = await server.send("POST", `/f/hunter-${language}/f`, hunt, { timeoutMs: 60_000 });
    const { hunted, found } = answer.json as unknown as { hunted: boolean; found: string[] };
    expect(hunted, answer.text).toBe(true);
    // What it has itself it finds: the search works.
    expect(found.filter((path) => path.endsWith("own.txt"))).not.toEqual([]);
    expect(found.filter((path) => !path.endsWith("own.txt"))).toEqual([]);
  });
});

const TELLTALES: Readonly<Record<string, { readonly file: string; readonly code: string }>> = {
  node: {
    file: "index.js",
    code: `module.exports = async ({ req, res, log, error }) => {
  const token = process.env.TOKEN;
  for (const form of [token, Buffer.from("user:" + token).toString("base64"), encodeURIComponent(token), JSON.stringify({ token })]) { log(form); error(form); console.log(form); }
  process.stderr.write("native " + token + "\\n");
  if (req.query.throw) throw new Error("no use for " + token);
  return res.text("told " + token, 200, { "x-token": encodeURIComponent(token), "set-cookie": "session=of-a-user" });
};`,
  },
  python: {
    file: "main.py",
    code: `import base64, json, os, sys, urllib.parse
def main(context):
    token = os.environ["TOKEN"]
    for form in (token, base64.b64encode(("user:" + token).encode()).decode(), urllib.parse.quote(token, safe=""), json.dumps({"token": token})):
        context.log(form)
        context.error(form)
        print(form)
    os.write(2, ("native " + token + "\\n").encode())
    if "throw" in context.req.query:
        raise ValueError("no use for " + token)
    return context.res.text("told " + token, 200, {"x-token": urllib.parse.quote(token, safe=""), "set-cookie": "session=of-a-user"})
`,
  },
  php: {
    file: "index.php",
    code: `<?php
return function ($context) {
    $token = getenv('TOKEN');
    foreach ([$token, base64_encode("user:$token"), rawurlencode($token), json_encode(['token' => $token])] as $form) { $context->log($form); $context->error($form); echo $form, "\\n"; }
    if (isset($context->req->query['throw'])) throw new Exception("no use for $token");
    return $context->res->text("told $token", 200, ['x-token' => rawurlencode($token), 'set-cookie' => 'session=of-a-user']);
};
`,
  },
};

test("a secret is in no answer of the API, log, error, record or file, whatever its function does with it", {
  timeout: 240_000,
}, async () => {
  await using place = new Place();
  const own = await place.start({ prewarmed: "0" });
  const secret = `hunter2/${randomBytes(12).toString("hex")}+&"x`;
  const caller = `caller-${randomBytes(12).toString("hex")}`;
  const texts: string[] = [];
  const languages: string[] = [];
  for (const [language, { file, code }] of Object.entries(TELLTALES)) {
    if (!(await isThere(language))) continue;
    languages.push(language);
    const put = await own.send("PUT", `/api/v1/workspaces/${language}/secrets/TOKEN`, { value: secret });
    const files = { [file]: code, "treadle.yaml": "settings: {secrets: [TOKEN]}\ncommand: 'env; echo built'\n" };
    const made = await deploy(own, language, files);
    texts.push(put.text, made.text, made.log);
    if (!made.active) {
      texts.push((await own.send("PUT", `/api/v1/workspaces/${language}/secrets/TOKEN`, { value: secret })).text);
      expect((await own.send("POST", `${at(language)}/deployments/latest/activate`)).status).toBe(200);
    }
    const headers = { authorization: `Bearer ${caller}`, cookie: `a=${caller}`, "x-api-key": caller };
    // To its caller a function may say what it likes.
    expect((await own.send("GET", `/f/${language}/f`, undefined, { headers })).text).toBe(`told ${secret}`);
    const thrown = await own.send("GET", `/f/${language}/f?throw=1`, undefined, { headers });
    expect(thrown.status).toBe(500);
    texts.push(thrown.text);
    const queued = await own.send("POST", `${at(language)}/executions?mode=async`, {
      request: { method: "GET", path: "/", headers },
    });
    expect(queued.status, queued.text).toBe(202);
    const outcome = await own.send("GET", `${queued.headers.location}?wait=30`);
    expect(outcome.text).toContain("told ***");
    texts.push(queued.text, outcome.text);
    const list = () => own.send("GET", `/api/v1/executions?workspace=${language}`);
    await expect.poll(async () => ((await list()).json.executions as unknown[]).length).toBe(3);
    for (const { id } of (await list()).json.executions as { id: string }[])
      texts.push((await own.send("GET", `/api/v1/executions/${id}`)).text);
    texts.push((await list()).text, (await own.send("GET", at(language))).text);
    for (const path of ["secrets", "variables", "functions/f/deployments", "functions/f/deployments/latest/log"])
      texts.push((await own.send("GET", `/api/v1/workspaces/${language}/${path}`)).text);
    // It has no end: what comes until it is quiet.
    texts.push(await sendBytes(own.port, `GET /api/v1/workspaces/${language}/log HTTP/1.1\r\nhost: localhost\r\n\r\n`, 500));
    expect(texts.at(-1)).toMatch(/^HTTP\/1.1 200/);
  }
  texts.push((await own.send("GET", "/api/v1/instances")).text, (await own.send("GET", "/api/v1/workspaces")).text);
  expect(languages.length).toBeGreaterThanOrEqual(2);
  place.observe();
  await own.stop();
  texts.push(own.log);
  const core = secret.slice(0, 30);
  const base64 = Buffer.from(`user:${secret}`).toString("base64").slice(8, 40);
  const traces = {
    core,
    encoded: encodeURIComponent(core),
    json: JSON.stringify(secret).slice(1, -1),
    base64,
    caller,
    cookie: "session=of-a-user",
  };
  for (const [index, text] of texts.entries())
    for (const [form, trace] of Object.entries(traces))
      expect(text.includes(trace), `text ${index} has ${form}: ${text.slice(0, 300)}`).toBe(false);
  expect(texts.join("")).toContain("***");
  await using store = await openStore({ dataDirectory: place.dataDirectory, log: () => {} });
  const { rows: columns } = await sql<{ t: string; c: string }>`
    SELECT table_name AS t, column_name AS c FROM information_schema.columns
    WHERE table_schema = current_schema() AND data_type IN ('text', 'character varying', 'json', 'jsonb', 'bytea', 'ARRAY')`.execute(
    store.database,
  );
  expect(columns.length).toBeGreaterThan(20);
  let scanned = 0;
  for (const { t, c } of columns) {
    const { rows } = await sql<{ value: string | null }>`
      SELECT CASE WHEN pg_typeof(${sql.ref(c)}) = 'bytea'::regtype THEN encode(${sql.ref(c)}::text::bytea, 'escape') ELSE ${sql.ref(c)}::text END AS value
      FROM ${sql.table(t)}`.execute(store.database);
    for (const { value } of rows) {
      scanned += 1;
      const hex = (trace: string) => Buffer.from(trace).toString("hex");
      for (const [form, trace] of Object.entries(traces))
        expect(value?.includes(trace) === true || value?.includes(hex(trace)) === true, `${t}.${c} has ${form}`).toBe(false);
    }
  }
  expect(scanned).toBeGreaterThan(50);
});

describe("a web server's answers and lines", () => {
  const FORGER = `<?php
return function ($context) {
    $line = fn ($id) => json_encode(['id' => $id, 'level' => 'error', 'text' => 'forged']) . "\\n";
    switch ($context->req->path) {
        case '/split': return $context->res->text('split', 200, ['x-a' => "b\\r\\nset-cookie: forged=1\\r\\n\\r\\nHTTP/1.1 200 OK\\r\\ncontent-length: 6\\r\\n\\r\\nforged", "x-b\\r\\nx-forged" => '1']);
        case '/length': return $context->res->text('length', 200, ['content-length' => '600', 'transfer-encoding' => 'identity']);
        case '/lines':
            foreach (['php://stdout', 'php://stderr', '/proc/self/fd/1', '/proc/1/fd/1'] as $path) {
                $out = @fopen($path, 'w');
                if ($out === false) continue;
                foreach ([...explode(',', $context->req->query['ids'] ?? ''), null] as $id) @fwrite($out, $line($id));
                @fwrite($out, "HTTP server successfully started!\\n");
                @fwrite($out, "\\e]0;owned\\x07\\e[2J{\\"level\\":60,\\"msg\\":\\"forged\\"}\\n");
            }
            return $context->res->text('lines');
    }
    return $context->res->text('own ' . $context->req->path);
};
`;
  test("do not become others'", { timeout: 120_000 }, async (context) => {
    if (!(await isThere("php"))) return context.skip("this machine has no php");
    expect((await deploy(server, "forger", { "index.php": FORGER })).active).toBe(true);
    for (let turn = 0; turn < 3; turn++) {
      for (const path of ["/split", "/length"]) {
        const { headers, status } = await server.send("GET", `/f/forger/f${path}`, undefined, { timeoutMs: 20_000 });
        expect([200, 500, 502], path).toContain(status);
        expect(Object.keys(headers)).not.toContain("set-cookie");
        expect(Object.keys(headers)).not.toContain("x-forged");
      }
      for (const path of ["/a", "/b"]) expect((await server.send("GET", `/f/forger/f${path}`)).text).toBe(`own ${path}`);
    }
    const first = server.log.length;
    const list = async () =>
      (await server.send("GET", "/api/v1/executions?limit=50")).json.executions as {
        id: string;
        workspace: string;
        logs: unknown;
      }[];
    const others = (await list()).map(({ id }) => id);
    expect(others.length).toBeGreaterThan(3);
    expect((await server.send("GET", `/f/forger/f/lines?ids=${others.join(",")}`)).text).toBe("lines");
    expect((await server.send("GET", "/f/forger/f/a")).text).toBe("own /a");
    await sleep(300);
    for (const id of others) expect((await server.send("GET", `/api/v1/executions/${id}`)).text).not.toContain("forged");
    expect(
      server.log
        .slice(first)
        .split("\n")
        .filter((line) => /^\{"level":60/.test(line)),
    ).toEqual([]);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there.
    expect(server.log.slice(first)).not.toMatch(/[\u0000-\u0008\u000b-\u001f]/);
    expect((await server.send("GET", "/f/victim/f")).status).toBe(200);
  });
});

describe("sources and builds", () => {
  const post = (body: Buffer) =>
    server.send("POST", `${at("hostile")}/deployments`, body, { headers: { "content-type": "application/gzip" } });

  test("a bomb, paths that lead out and links are refused, and leave nothing", { timeout: 60_000 }, async () => {
    const before = readdirSync(join(server.dataDirectory, "builds/work"));
    const bomb = await packed({ zeros: "\0".repeat(60_000_000), "index.js": "x" });
    expect(bomb.length).toBeLessThan(200_000);
    const refused = await post(bomb);
    expect([refused.status, refused.code]).toEqual([413, "SOURCE_TOO_LARGE"]);
    for (const transform of ["s,^evil,../../evil,", "s,^evil,/etc/evil,", "s,^evil,a/../../evil,"]) {
      const answer = await post(await packed({ "index.js": "x", evil: "x" }, ["-P", `--transform=${transform}`]));
      expect([answer.status, answer.code], transform).toEqual([400, "BAD_ARCHIVE"]);
    }
    expect(readdirSync(join(server.dataDirectory, "builds/work"))).toEqual(before);
    expect(existsSync("/etc/evil")).toBe(false);
    expect((await server.send("GET", "/api/v1/workspaces/hostile")).code).toBe("UNKNOWN_WORKSPACE");
  });

  test("a build command reads nothing of the host, reaches nobody and leaves no process", { timeout: 60_000 }, async () => {
    const stray = `8${Math.floor(Math.random() * 1e6)}`;
    const script = `cat ${bait.secretFile}; cat /etc/shadow && echo REACHED; ls ${server.dataDirectory} && echo REACHED; cat /proc/1/environ /proc/self/environ
env; for port in ${bait.port} ${server.port}; do for host in 127.0.0.1 ${bait.hostAddresses[0] ?? "127.0.0.1"}; do node -e 'require("net").connect(+process.argv[1], process.argv[2], () => console.log("REACHED")).on("error", () => {})' $port $host; done; done
node -e 'for (const path of process.argv.slice(1)) require("net").connect(path, () => console.log("REACHED")).on("error", () => {})' ${bait.socketFile}
node -e 'fetch("https://registry.npmjs.org/").then(() => console.log("REACHED"), () => {})'
(setsid sleep ${stray} > /dev/null 2>&1 &); nohup sleep ${stray} > /dev/null 2>&1 &
node -e 'console.log("went through")'`;
    const files = {
      "index.js": "module.exports = ({ res }) => res.text('x');",
      "try.sh": script,
      "treadle.yaml": "command: sh try.sh\n",
    };
    const { state, log } = await deploy(server, "hostile-build", files);
    expect(state, log).toBe("ready");
    expect(log).toContain("went through");
    expect(log).not.toContain("REACHED");
    expect(log).not.toContain(bait.secret);
    const remaining = readdirSync("/proc").filter((name) => {
      try {
        return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, "latin1").includes(stray);
      } catch {
        return false;
      }
    });
    expect(remaining).toEqual([]);
  });
});
