import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** A storage service that runs for a test. */
export interface StorageServer extends AsyncDisposable {
  readonly origin: string;
  /** Ends the process at once, as a crash would. */
  stop(): Promise<void>;
}

/** Starts a program that serves HTTP on a port of 127.0.0.1 and keeps its data in a folder; waits until it answers. */
export async function startStorageServer(
  command: (at: { port: number; folder: string }) => { file: string; args: string[]; env?: NodeJS.ProcessEnv },
): Promise<StorageServer> {
  const folder = await mkdtemp(join(tmpdir(), "treadle-storage-server-"));
  const port = await freePort();
  const { file, args, env } = command({ port, folder });
  const child = spawn(file, args, { cwd: folder, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const output: string[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (data) => output.splice(0, output.length - 50, String(data)));
  const stop = () => end(child);
  const server: StorageServer = {
    origin: `http://127.0.0.1:${port}`,
    stop,
    async [Symbol.asyncDispose]() {
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
  const failed = once(child, "error").then(([error]) => error as Error);
  for (const until = Date.now() + 40_000; ; ) {
    const state = await Promise.race([answers(server.origin), failed]);
    if (state === true) return server;
    if (state instanceof Error || child.exitCode !== null || Date.now() > until) {
      await server[Symbol.asyncDispose]();
      throw new Error(`${file} ${args.join(" ")} did not start: ${state || output.join("")}`);
    }
    await sleep(100);
  }
}

async function answers(origin: string): Promise<boolean> {
  try {
    await (await fetch(origin, { signal: AbortSignal.timeout(2_000) })).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGKILL");
  await exit;
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, "close");
  return port;
}
