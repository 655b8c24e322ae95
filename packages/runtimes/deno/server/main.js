// The runtime server for Deno: the server of ../../web, `main.js frames` on file descriptor 3, `main.js http` (the default) on Deno.serve.

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
  runtime: "deno",
  version: Deno.version.deno,
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
  exit: Deno.exit.bind(Deno),
  binary: (bytes) => bytes,
};

const front = Deno.args[0] === "frames" ? await serveFrames() : await serveHttp();

for (const [stream, level] of [
  [Deno.stdout, "info"],
  [Deno.stderr, "error"],
]) {
  stream.writeSync = (bytes) => {
    front.print(level, bytes);
    return bytes.length;
  };
  stream.write = async (bytes) => stream.writeSync(bytes);
}
// The event of an uncaught error does not tell where it came from; most come from timers.
for (const name of ["setTimeout", "setInterval"]) {
  const original = globalThis[name];
  globalThis[name] = Object.defineProperty(
    (callback, ...rest) => original(typeof callback === "function" ? guarded(callback) : callback, ...rest),
    "name",
    { value: name },
  );
}
function guarded(callback) {
  return (...args) => {
    try {
      return callback(...args);
    } catch (error) {
      front.lateThrow("Uncaught", error);
    }
  };
}
globalThis.addEventListener("error", (event) => {
  event.preventDefault();
  front.lateThrow("Uncaught", event.error);
});
globalThis.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  front.lateThrow("Unhandled rejection", event.reason);
});

/**
 * Frames on the socket that the process was started with. Deno knows no descriptors but its own, so it is read and written by libc's functions, reading
 * in a thread of Deno's; node:net could, too, and takes 30 ms to load.
 */
async function serveFrames() {
  const { serveFrames } = await import("../../web/frames.js");
  const [FD, READ_BYTES, SEND_FLAGS] = [3, 65_536, 0x4040]; // MSG_DONTWAIT | MSG_NOSIGNAL
  const parameters = ["i32", "buffer", "usize", "i32"];
  const { symbols } = Deno.dlopen("libc.so.6", {
    send: { parameters, result: "i32" },
    recv: { parameters, result: "i32", nonblocking: true },
  });
  const { recv, send } = symbols;
  const receive = async (onBytes, onClosed) => {
    const buffer = new Uint8Array(READ_BYTES);
    for (;;) {
      const count = await recv(FD, buffer, READ_BYTES, 0);
      if (count <= 0) onClosed();
      onBytes(buffer.subarray(0, count));
    }
  };
  return serveFrames({ ...platform, send: (bytes) => send(FD, bytes, bytes.length, SEND_FLAGS), receive }, "main.ts");
}

/** HTTP, on the socket or port that the environment says. */
async function serveHttp() {
  const { createServer } = await import("../../web/serve.js");
  const server = createServer(platform, "main.ts");
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
  return server;
}
