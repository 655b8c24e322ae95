import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { connect } from "node:net";
import { expect, test } from "vitest";
import { folderOf, startNode } from "./node-server.ts";

test("fetch, http and https go through the proxy socket, and nothing else is touched without it", async () => {
  using folder = folderOf({});
  const seen: string[] = [];
  const site = createHttpServer((request, response) => response.end(`site ${request.url}`)).listen(0, "127.0.0.1");
  await once(site, "listening");
  const { port } = site.address() as { port: number };
  // A proxy that takes every name for the site above.
  const proxy = createHttpServer((request, response) => {
    seen.push(`${request.method} ${request.url}`);
    response.end(`proxied ${request.url}`);
  });
  proxy.on("connect", (request, client) => {
    seen.push(`CONNECT ${request.url}`);
    const upstream = connect(port, "127.0.0.1", () => {
      client.write("HTTP/1.1 200 OK\r\n\r\n");
      client.pipe(upstream).pipe(client);
    });
    for (const end of [client, upstream]) end.on("error", () => {});
  });
  proxy.listen(`${folder.path}/egress.sock`);
  await once(proxy, "listening");
  try {
    const functions = {
      fetched: "return await (await fetch('http://site.example/a')).text();",
      got: "return await new Promise((r, e) => require('http').get('http://site.example/b', (s) => s.setEncoding('utf8').on('data', r)).on('error', e));",
      secure:
        "return await new Promise((r) => require('https').get('https://secure.example/c', r).on('error', (e) => r(e.code)));",
      imported: "const { default: http } = await import('node:http'); return typeof http.get;",
      variables: "return [process.env.HTTPS_PROXY, process.env.http_proxy];",
    };
    await using client = await startNode({
      functions,
      environment: { TREADLE_EGRESS: "1", TREADLE_EGRESS_SOCKET: `${folder.path}/egress.sock` },
    });
    expect(await client.result("fetched")).toMatch(/(site|proxied) .*\/a$/);
    expect(await client.result("got")).toMatch(/(site|proxied) .*\/b$/);
    // The site speaks no TLS: what matters is that the proxy was asked for it.
    expect(await client.result("secure")).toEqual(expect.any(String));
    expect(await client.result("imported")).toBe("function");
    expect(seen.filter((line) => line.includes("site.example"))).toHaveLength(2);
    expect(seen).toContain("CONNECT secure.example:443");
    expect(await client.result("variables")).toEqual(Array(2).fill(expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/)));

    await using without = await startNode({ functions });
    expect(await without.result("variables")).toEqual([null, null]);
    expect((await without.call("fetched")).error?.code).toBe("THREW");
  } finally {
    proxy.closeAllConnections();
    proxy.close();
    site.closeAllConnections();
    site.close();
  }
});
