// The files capability without the server around it: POST /?PATH puts that file into local storage and answers how long the call took, ms.
import { createReadStream } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { openFiles } from "@treadle/files";
import { openStore } from "@treadle/store";

const dataDirectory = process.argv[2] as string;
const store = await openStore({ dataDirectory, log: (level, message) => level !== "info" && console.error(message) });
const files = await openFiles({
  store,
  dataDirectory,
  storageUrl: null,
  quotaBytes: null,
  fileMaxBytes: 1e12,
  uploadExpiryMs: 86_400_000,
  copiesMaxBytes: 1e9,
  trustedImports: [],
  linkKey: Buffer.alloc(32),
  environment: {},
  warn: (message) => console.error(message),
});
const server = createServer(async (request, response) => {
  const path = decodeURIComponent(request.url?.slice(2) ?? "");
  try {
    const start = performance.now();
    const { size } = await files.put("bench", { name: "put.bin" }, createReadStream(path, { highWaterMark: 1024 * 1024 }));
    response.end(JSON.stringify({ ms: performance.now() - start, size }));
  } catch (error) {
    response.writeHead(500).end(String(error));
  }
});
server.listen(0, "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`));
process.once("SIGTERM", async () => {
  server.close();
  await files[Symbol.asyncDispose]();
  await store.close();
  process.exit(0);
});
