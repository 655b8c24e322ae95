import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { Sandbox, SandboxDriver } from "../src/index.ts";
import { PYTHON, start } from "./programs.ts";

/** Answers each connection with what it sent, in capitals. */
export const LISTENER = `import socket, sys
server = socket.socket(socket.AF_UNIX); server.bind(sys.argv[1]); server.listen(8)
print("listening", flush=True)
while True:
  client, _ = server.accept(); client.sendall(client.recv(100).upper()); client.close()`;

/** What comes back from a listener inside. */
export async function echoes(driver: SandboxDriver): Promise<string> {
  await using sandbox = await start(driver, [PYTHON, "-c", LISTENER, "/tmp/http.sock"]);
  await listening(sandbox);
  const socket = await sandbox.connect("/tmp/http.sock");
  socket.end("hello");
  return text(socket);
}

export interface ConnectionReport {
  /** The kernel's code, or the error's name, by attempt; `connected` is what must not be. */
  readonly results: Readonly<Record<string, string>>;
  /** Connections that the host's own socket got. */
  readonly connections: number;
  /** Whether a fifo was opened. */
  readonly opens: boolean;
}

/** Has a program inside put all kinds of things where its socket should be, and connects to each. */
export async function connectionAttempts(driver: SandboxDriver): Promise<ConnectionReport> {
  const directory = await mkdtemp(join(tmpdir(), "ts-"));
  const hostSocket = join(directory, "host.sock");
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(hostSocket, resolve));
  const abstract = createServer((socket) => {
    connections += 1;
    socket.destroy();
  });
  const abstractName = `treadle-${process.pid}-${Math.random()}`;
  await new Promise<void>((resolve) => abstract.listen(`\0${abstractName}`, resolve));
  const code = `import os, socket, sys, threading
host = sys.argv[1]
os.symlink(host, "/tmp/link")
own = socket.socket(socket.AF_UNIX); own.bind("/tmp/own"); own.listen(8)
os.symlink("/tmp/own", "/tmp/linkToOwn")
os.mkfifo("/tmp/fifo")
def reader():
  os.close(os.open("/tmp/fifo", os.O_RDONLY)); open("/tmp/opened", "w").close()
threading.Thread(target=reader, daemon=True).start()
open("/tmp/file", "w").close(); os.mkdir("/tmp/directory")
gone = socket.socket(socket.AF_UNIX); gone.bind("/tmp/closed"); gone.close()
os.mkdir("/tmp/nested"); inner = socket.socket(socket.AF_UNIX); inner.bind("/tmp/nested/own"); inner.listen(8)
print("listening", flush=True)
import time
for _ in range(200):
  if os.path.exists("/tmp/opened"): print("opened", flush=True); break
  time.sleep(0.01)
time.sleep(60)`;
  try {
    await using sandbox = await start(driver, [PYTHON, "-c", code, hostSocket]);
    let output = "";
    sandbox.stdout.on("data", (chunk) => {
      output += chunk;
    });
    await listening(sandbox);
    const paths: Record<string, string> = {
      link: "/tmp/link",
      linkToOwn: "/tmp/linkToOwn",
      fifo: "/tmp/fifo",
      file: "/tmp/file",
      directory: "/tmp/directory",
      missing: "/tmp/missing",
      closed: "/tmp/closed",
      parent: "/tmp/..",
      nested: "/tmp/nested/own",
      elsewhere: hostSocket,
      abstract: `\0${abstractName}`,
      abstractBelow: `/tmp/\0${abstractName}`,
    };
    const results: Record<string, string> = {};
    for (const [name, path] of Object.entries(paths)) {
      results[name] = await sandbox.connect(path).then(
        (socket) => {
          socket.destroy();
          return "connected";
        },
        (error: NodeJS.ErrnoException) => error.code ?? error.name,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
    return { results, connections, opens: output.includes("opened") };
  } finally {
    server.close();
    abstract.close();
    await rm(directory, { recursive: true, force: true });
  }
}

/** Waits for the first line of a program. */
export async function listening(sandbox: Sandbox): Promise<void> {
  sandbox.stderr.resume();
  await new Promise((resolve) => sandbox.stdout.once("data", resolve));
}
