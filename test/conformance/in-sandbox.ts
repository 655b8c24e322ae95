import type { Runtime } from "@treadle/runtimes";
import type { SandboxDriver } from "@treadle/sandbox";
import type { BuiltFunction } from "./built-function.ts";
import { RuntimeServer } from "./runtime-server.ts";

const SOCKET = "/tmp/treadle.sock";
const MEBIBYTE = 1024 * 1024;

/** Starts a runtime server as Treadle does for a deployment: in a sandbox, code and dependencies mounted read-only, on a unix socket in its scratch. */
export async function startInSandbox(
  driver: SandboxDriver,
  runtime: Runtime,
  built: BuiltFunction,
  environment: Readonly<Record<string, string>>,
): Promise<RuntimeServer> {
  const dependencies = built.dependencies === null ? null : "/dependencies";
  const memoryBytes = Math.max(512 * MEBIBYTE, 2 * runtime.baseMemoryBytes);
  const sandbox = await driver.spawn({
    command: runtime.command({ transport: "http", heapBytes: Math.floor(memoryBytes / 2), code: "/code", dependencies }),
    environment: {
      ...runtime.environment,
      TREADLE_SOCKET: SOCKET,
      TREADLE_CODE: "/code",
      ...(dependencies !== null && { TREADLE_DEPENDENCIES: dependencies }),
      ...environment,
    },
    workingDirectory: "/tmp",
    root: runtime.root,
    mounts: [
      ...runtime.mounts,
      { source: built.code, target: "/code", access: "read-only" as const },
      ...(built.dependencies === null
        ? []
        : [{ source: built.dependencies, target: "/dependencies", access: "read-only" as const }]),
    ],
    limits: { memoryBytes, processes: 256, cpus: null, scratchBytes: 64 * MEBIBYTE, openFiles: 1024 },
    egress: null,
  });
  const server = new RuntimeServer({
    pid: sandbox.pid,
    stdout: sandbox.stdout,
    stderr: sandbox.stderr,
    exited: sandbox.exited,
    connect: () => sandbox.connect(SOCKET),
    end: async () => {
      await sandbox.kill();
    },
  });
  try {
    return await server.ready();
  } catch (error) {
    await sandbox.kill();
    throw error;
  }
}
