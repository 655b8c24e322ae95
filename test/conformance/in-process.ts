import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BuiltFunction } from "./built-function.ts";
import type { Language } from "./languages.ts";
import { RuntimeServer } from "./runtime-server.ts";

/** The machine's environment without what this test run, or a Treadle, put into it. */
function plainEnvironment(): Record<string, string> {
  const entries = Object.entries(process.env).filter(
    ([name, value]) =>
      value !== undefined && !/^(TREADLE_|OPEN_RUNTIMES_|NODE_|VITEST|VITE_|npm_|TEST$|PORT$|(https?|no|all)_proxy$)/i.test(name),
  );
  return Object.fromEntries(entries) as Record<string, string>;
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, "close");
  return port;
}

/** Starts `launch.sh CODE-FOLDER` of a language as in a container: on a TCP port, or on the unix socket given. */
export async function startInProcess(
  language: Language,
  built: BuiltFunction,
  environment: Readonly<Record<string, string>>,
  socket?: string,
): Promise<RuntimeServer> {
  const home = mkdtempSync(join(tmpdir(), "treadle-launch-"));
  const port = socket === undefined ? await freePort() : 0;
  const child = spawn("/bin/sh", [join(language.folder, "launch.sh"), built.code], {
    cwd: home,
    // A group of its own, so that a launch script that does not become the server is ended with it.
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...plainEnvironment(),
      ...(socket === undefined ? { PORT: String(port) } : { TREADLE_SOCKET: socket }),
      ...(built.dependencies !== null && { TREADLE_DEPENDENCIES: built.dependencies }),
      ...environment,
    },
  });
  const exited = once(child, "exit");
  const endGroup = (signal: NodeJS.Signals) => {
    try {
      process.kill(-(child.pid as number), signal);
    } catch {
      // All of it has ended.
    }
  };
  const server = new RuntimeServer({
    pid: child.pid as number,
    stdout: child.stdout,
    stderr: child.stderr,
    exited,
    connect: async () => {
      const connection = socket === undefined ? connect({ host: "127.0.0.1", port, noDelay: true }) : connect({ path: socket });
      await once(connection, "connect");
      return connection;
    },
    end: async () => {
      endGroup("SIGKILL");
      await exited;
      rmSync(home, { recursive: true, force: true });
    },
  });
  try {
    return await server.ready();
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
}
