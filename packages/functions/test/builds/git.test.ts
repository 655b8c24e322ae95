import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { sourceOf } from "./archives.ts";
import { GitServer } from "./git-server.ts";
import { failure, setWorkbench, type Workbench } from "./workbench.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let server: GitServer;
let bench: Workbench;
let first: string;
let second: string;
beforeAll(async () => {
  server = await GitServer.start();
  server.write({ "index.js": "old", "app/run.sh": "#!/bin/sh" }, ["app/run.sh"]);
  first = server.commit("first");
  server.git("tag", "v1");
  server.write({ "index.js": "new", ".gitattributes": "*.js filter=evil\n", ".lfsconfig": "[lfs]\nurl=http://127.0.0.1:1\n" });
  server.write({ ".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = http://127.0.0.1:1/x\n' });
  second = server.commit("second");
  server.git("checkout", "-q", "-b", "links", "v1");
  server.git("config", "core.symlinks", "true");
  server.git("update-index", "--add", "--cacheinfo", `120000,${server.git("hash-object", "-w", "index.js")},link`);
  server.git("commit", "-q", "-m", "a link to nothing");
  server.git("checkout", "-q", "-f", "main");
  bench = await setWorkbench({ settings: { gitTrusted: [server.place] } });
});
afterAll(async () => {
  expect(await bench.leftovers()).toEqual([]);
  await bench[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const take = (ref?: string, folder?: string, url = server.url) =>
  bench.builds.takeSource({
    kind: "git",
    url,
    ...(ref === undefined ? {} : { ref }),
    ...(folder === undefined ? {} : { folder }),
  });

test("a repository's default branch, a branch, a tag and a commit are taken, one commit deep", async () => {
  const latest = await take();
  expect(latest).toMatchObject({ commit: second, topLevel: [".gitattributes", ".gitmodules", ".lfsconfig", "app", "index.js"] });
  expect(await take("main")).toEqual(latest);
  expect(await take(second)).toEqual(latest);
  const tagged = await take("v1");
  expect(tagged).toMatchObject({ commit: first, files: 2 });
  expect((await take(first)).digest).toBe(tagged.digest);
  const { commit: _commit, ...inFolder } = await take("v1", "app");
  const { digest } = inFolder;
  expect(inFolder).toMatchObject({ files: 1, topLevel: ["run.sh"] });
  expect(digest).not.toBe((await bench.builds.takeSource(await sourceOf({ "run.sh": "#!/bin/sh" }))).digest);
});

test("what is not there, and what may not be in a source, is said in one sentence", async () => {
  expect(await failure(take("none"))).toMatchObject({
    code: "SOURCE_UNAVAILABLE",
    message: "The repository has no such branch, tag or commit.",
  });
  expect(await failure(take(undefined, undefined, `http://${server.place}/owner/other.git`))).toMatchObject({
    code: "SOURCE_UNAVAILABLE",
    message: "The repository does not exist, or is not public.",
  });
  expect(await failure(take("links"))).toMatchObject({ code: "BAD_ARCHIVE", message: expect.stringContaining('"link"') });
});

test("hosts that are not allowed, private addresses and other protocols are refused before anything is asked of them", async () => {
  const asked = server.requests.length;
  await using strict = await setWorkbench({
    settings: { gitHosts: ["localhost:443", "github.com", `127.0.0.1:${server.place.split(":")[1]}`] },
  });
  const refused = (url: string) => failure(strict.builds.takeSource({ kind: "git", url }));
  for (const url of [
    server.url,
    "https://example.com/a/b",
    "https://github.com.example.com/a/b",
    "https://github.com:8443/a/b",
    "http://github.com/a/b",
    "ssh://git@github.com/a/b",
    "git@github.com:a/b",
    "file:///etc",
    "/etc",
    "https://user:password@github.com/a/b",
    "https://github.com/a/b?x",
    "ext::sh -c id",
    "--upload-pack=id",
    "https://github.com/",
  ]) {
    expect(await refused(url), url).toMatchObject({ code: "SOURCE_UNAVAILABLE" });
  }
  // Allowed by name, but not by address.
  const address = await refused(`https://${server.place}/owner/name.git`);
  expect(address.message).toBe("The host may not be reached: its address is not public, or it sends on to another host.");
  const name = await refused("https://localhost/owner/name.git");
  expect(name.message).toBe("The host may not be reached: its address is not public, or it sends on to another host.");
  expect(server.requests.length).toBe(asked);
  for (const ref of ["--upload-pack=id", "-x", "a..b", "a b", "$(id)", "refs/heads/x.lock", ""]) {
    expect(await failure(take(ref)), ref).toMatchObject({
      code: "SOURCE_UNAVAILABLE",
      message: "The reference is no branch, tag or commit.",
    });
  }
});

test("a server that sends on to another is not followed", async () => {
  const { message } = await failure(take(undefined, undefined, `http://${server.place}/moved/name.git`));
  expect(message).toBe("The host may not be reached: its address is not public, or it sends on to another host.");
});

test("a repository that is too large, and one that is given up", async () => {
  await using small = await setWorkbench({ settings: { gitTrusted: [server.place], sourceMaxBytes: 1000 } });
  server.write({ "big.txt": "x".repeat(5000) });
  server.commit("big");
  expect((await failure(small.builds.takeSource({ kind: "git", url: server.url }))).code).toBe("SOURCE_TOO_LARGE");
  const abort = new AbortController();
  setTimeout(() => abort.abort(new Error("given up")), 150);
  expect((await failure(bench.builds.takeSource({ kind: "git", url: server.url }, abort.signal))).message).toBe("given up");
});
