import { chmod, copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";

/** Things on the host that a sandbox must not reach, and a count of how often it did. */
export interface HostFacts extends AsyncDisposable {
  readonly directory: string;
  readonly connections: () => number;
  /** What is told to the attempts inside. */
  readonly told: {
    readonly secret: string;
    readonly hiddenPaths: readonly string[];
    readonly port: number;
    readonly hostAddresses: readonly string[];
    readonly abstractSocket: string;
    readonly socketFile: string;
    readonly pid: number;
    readonly setuidPrograms: readonly string[];
  };
}

function listen(server: Server, where: string | { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    if (typeof where === "string") server.listen(where, resolve);
    else server.listen(where.port, where.host, resolve);
  });
}

/** Opens real listeners and files on the host, and a folder `visible` with a setuid program to mount at /code. */
export async function openHostFacts(): Promise<HostFacts> {
  const directory = await mkdtemp(join(tmpdir(), "treadle-host-facts-"));
  const secret = `secret-${process.pid}-${Math.random()}`;
  process.env.TREADLE_TEST_SECRET = secret;
  await writeFile(join(directory, "database"), secret);
  await mkdir(join(directory, "visible"));
  await chmod(directory, 0o755);
  await copyFile("/usr/bin/id", join(directory, "visible", "id"));
  await chmod(join(directory, "visible", "id"), 0o4755);

  let connections = 0;
  const servers = [0, 1, 2].map(() => createServer((socket) => socket.end(`${++connections}`)));
  const [network, abstract, file] = servers as [Server, Server, Server];
  const abstractSocket = `treadle-test-${process.pid}-${Math.random()}`;
  const socketFile = join(directory, "socket");
  // On every address, so that a way through any of them is seen.
  await listen(network, { host: "::", port: 0 });
  await listen(abstract, `\0${abstractSocket}`);
  await listen(file, socketFile);
  await chmod(socketFile, 0o777);
  const hostAddresses = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter(({ internal, family }) => !internal && family === "IPv4")
    .map(({ address }) => address);
  return {
    directory,
    connections: () => connections,
    told: {
      secret,
      hiddenPaths: [directory, join(directory, "database"), process.cwd(), import.meta.dirname],
      port: (network.address() as { port: number }).port,
      hostAddresses,
      abstractSocket,
      socketFile,
      pid: process.pid,
      setuidPrograms: ["/code/id"],
    },
    async [Symbol.asyncDispose]() {
      delete process.env.TREADLE_TEST_SECRET;
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
      await rm(directory, { recursive: true, force: true });
    },
  };
}
