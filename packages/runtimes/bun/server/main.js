// The runtime server for Bun: the server of ../../web on Bun.serve.

import { appendFileSync, readFileSync, statSync, unlinkSync, writeSync } from "node:fs";
import { createServer } from "../../web/serve.js";

function is(path, kind) {
  try {
    return statSync(path)[kind]();
  } catch {
    return false;
  }
}

const platform = {
  write(text) {
    try {
      writeSync(1, text);
    } catch {
      // A closed stdout must not end the server.
    }
  },
  append: (file, text) => appendFileSync(file, text),
  read(file) {
    try {
      return readFileSync(file, "utf8");
    } catch {
      return "";
    }
  },
  isFile: (path) => is(path, "isFile"),
  isFolder: (path) => is(path, "isDirectory"),
  binary: (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
};

const server = createServer(platform, "index.ts");

console.write = (...data) => {
  for (const each of data) server.print("info", each);
  return data.reduce((sum, each) => sum + each.length, 0);
};
process.on("uncaughtException", (error) => server.lateThrow("Uncaught", error));
process.on("unhandledRejection", (reason) => server.lateThrow("Unhandled rejection", reason));

const { socket, port } = server.settings;
if (socket !== null) {
  try {
    unlinkSync(socket);
  } catch {
    // None there.
  }
}
const listener = Bun.serve({
  ...(socket === null ? { hostname: "0.0.0.0", port } : { unix: socket }),
  // Time and size are limited by the host and by what reads the body.
  idleTimeout: 0,
  maxRequestBodySize: Number.MAX_SAFE_INTEGER,
  development: false,
  fetch: server.respond,
  error(error) {
    server.lateThrow("A request failed", error);
    return new Response("", { status: 500 });
  },
});
server.start();
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, async () => {
    await listener.stop();
    process.exit(0);
  });
}
