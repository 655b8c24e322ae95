// The least a Node server can do for the same answer: no routing, no checks, no sandbox, no log, no record.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const start = performance.now();
    const { parameters } = JSON.parse(Buffer.concat(chunks).toString("utf8")) as { parameters: { name: string } };
    const result = `Hello ${parameters.name}`;
    const body = JSON.stringify({ result, logs: [], duration: performance.now() - start });
    response.writeHead(200, {
      "content-type": "application/json; charset=utf-8",
      "content-length": Buffer.byteLength(body),
    });
    response.end(body);
  });
});
server.listen(0, "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`));
process.on("SIGTERM", () => process.exit(0));
