// The runtime server for Deno: the server of ../../web on Deno.serve.

import { createServer } from "../../web/serve.js";

const stdout = Deno.stdout;
const writeSync = stdout.writeSync.bind(stdout);
const encoder = new TextEncoder();

function is(path, kind) {
  try {
    return Deno.statSync(path)[kind];
  } catch {
    return false;
  }
}

const platform = {
  write(text) {
    let bytes = encoder.encode(text);
    try {
      while (bytes.length > 0) bytes = bytes.subarray(writeSync(bytes));
    } catch {
      // A closed stdout must not end the server.
    }
  },
  append: (file, text) => Deno.writeTextFileSync(file, text, { append: true }),
  read(file) {
    try {
      return Deno.readTextFileSync(file);
    } catch {
      return "";
    }
  },
  isFile: (path) => is(path, "isFile"),
  isFolder: (path) => is(path, "isDirectory"),
  binary: (bytes) => bytes,
};

const server = createServer(platform, "main.ts");

for (const [stream, level] of [
  [Deno.stdout, "info"],
  [Deno.stderr, "error"],
]) {
  stream.writeSync = (bytes) => {
    server.print(level, bytes);
    return bytes.length;
  };
  stream.write = async (bytes) => stream.writeSync(bytes);
}
globalThis.addEventListener("error", (event) => {
  event.preventDefault();
  server.lateThrow("Uncaught", event.error);
});
globalThis.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  server.lateThrow("Unhandled rejection", event.reason);
});

const { socket, port } = server.settings;
if (socket !== null) {
  try {
    Deno.removeSync(socket);
  } catch {
    // None there.
  }
}
const listener = Deno.serve(
  {
    ...(socket === null ? { hostname: "0.0.0.0", port } : { path: socket }),
    onListen: () => server.start(),
    onError(error) {
      server.lateThrow("A request failed", error);
      return new Response("", { status: 500 });
    },
  },
  server.respond,
);
for (const signal of ["SIGTERM", "SIGINT"]) {
  Deno.addSignalListener(signal, async () => {
    await listener.shutdown();
    Deno.exit(0);
  });
}
