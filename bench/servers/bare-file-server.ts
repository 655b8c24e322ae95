// The least a Node server can do with large bodies: a POST is read and thrown away, a GET gives the file of the command line, or a range of it.
import { createReadStream, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

const path = process.argv[2] as string;
const server = createServer((request, response) => {
  if (request.method === "POST") {
    request.resume();
    request.on("end", () => response.end("{}"));
    return;
  }
  const { size } = statSync(path);
  const [, start = "0", last = String(size - 1)] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
  const end = Number(last);
  response.writeHead(request.headers.range === undefined ? 200 : 206, { "content-length": end - Number(start) + 1 });
  createReadStream(path, { start: Number(start), end, highWaterMark: 256 * 1024 }).pipe(response);
});
server.listen(0, "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`));
process.on("SIGTERM", () => process.exit(0));
