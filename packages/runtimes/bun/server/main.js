// The runtime server for Bun: the server of ../../web, `main.js frames` on file descriptor 3, `main.js http` (the default) on Bun.serve.

import { appendFileSync, readFileSync, statSync, unlinkSync, writeSync } from "node:fs";

function is(path, kind) {
  try {
    return statSync(path)[kind]();
  } catch {
    return false;
  }
}

const platform = {
  runtime: "bun",
  version: Bun.version,
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
  exit: process.exit.bind(process),
  binary: (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
};

const front = process.argv[2] === "frames" ? await serveFrames() : await serveHttp();

console.write = (...data) => {
  for (const each of data) front.print("info", each);
  return data.reduce((sum, each) => sum + each.length, 0);
};
process.on("uncaughtException", (error) => front.lateThrow("Uncaught", error));
process.on("unhandledRejection", (reason) => front.lateThrow("Unhandled rejection", reason));

/** Frames on the socket that the process was started with. */
async function serveFrames() {
  const { serveFrames } = await import("../../web/frames.js");
  let onBytes = () => {};
  let onClosed = () => {};
  const socket = await Bun.connect({
    fd: 3,
    socket: {
      data: (_socket, bytes) => onBytes(bytes),
      end: () => onClosed(),
      close: () => onClosed(),
      error: () => onClosed(),
      drain() {},
    },
  });
  const send = socket.write.bind(socket);
  const receive = (bytes, closed) => {
    onBytes = bytes;
    onClosed = closed;
  };
  return serveFrames({ ...platform, send: (bytes) => send(bytes), receive }, "index.ts");
}

/** HTTP, on the socket or port that the environment says. */
async function serveHttp() {
  const { createServer } = await import("../../web/serve.js");
  const server = createServer(platform, "index.ts");
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
  return server;
}
