import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startPython } from "./python-server.ts";

test("urllib reaches the host's proxy socket through the loopback listener, only when egress is on", async () => {
  const folder = await mkdtemp(join(tmpdir(), "treadle-python-egress-"));
  const path = join(folder, "egress.sock");
  const proxy = createServer((request, response) => {
    let body = "";
    request.on("data", (piece) => {
      body += piece;
    });
    request.on("end", () => response.end(`${request.method} ${request.url} ${body.length}`));
  });
  await new Promise<void>((resolve) => proxy.listen(path, resolve));
  const functions = {
    get: 'import urllib.request\nreturn urllib.request.urlopen("http://example.test/path", timeout=5).read().decode()',
    post: 'import urllib.request\nreturn urllib.request.urlopen("http://example.test/", data=b"x" * 3_000_000, timeout=5).read().decode()',
    names: "import os\nreturn sorted(name for name in os.environ if name.lower().endswith('_proxy'))",
  };
  {
    await using client = startPython();
    await client.load({ functions, environment: { TREADLE_EGRESS: "1", TREADLE_EGRESS_SOCKET: path } });
    expect(await client.result("get")).toBe("GET http://example.test/path 0");
    expect(await client.result("post")).toBe("POST http://example.test/ 3000000");
    const many = await Promise.all(Array.from({ length: 40 }, () => client.result("get")));
    expect(new Set(many)).toEqual(new Set(["GET http://example.test/path 0"]));
    expect(await client.result("names")).toEqual([
      "HTTPS_PROXY",
      "HTTP_PROXY",
      "NO_PROXY",
      "http_proxy",
      "https_proxy",
      "no_proxy",
    ]);
  }
  {
    await using client = startPython();
    await client.load({ functions });
    expect(await client.result("names")).toEqual([]);
  }
  await new Promise((resolve) => proxy.close(resolve));
  await rm(folder, { recursive: true });
});
