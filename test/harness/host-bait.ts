import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server as NetServer } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";

/** Things of the host that user code must not reach, and a count of how often something did. */
export interface HostBait extends AsyncDisposable {
  /** A file on the host with the secret in it, readable by all. */
  readonly secretFile: string;
  readonly secret: string;
  /** A listener on every address of the host. */
  readonly port: number;
  readonly hostAddresses: readonly string[];
  readonly abstractSocket: string;
  readonly socketFile: string;
  connections(): number;
}

/** Opens real listeners and puts a real secret on the host. */
export async function layHostBait(): Promise<HostBait> {
  const directory = mkdtempSync(join(tmpdir(), "treadle-bait-"));
  chmodSync(directory, 0o755);
  const secret = `secret-${process.pid}-${Math.random().toString(36).slice(2)}`;
  const secretFile = join(directory, "secret");
  writeFileSync(secretFile, secret, { mode: 0o644 });
  const socketFile = join(directory, "socket");
  const abstractSocket = `treadle-bait-${process.pid}`;
  let connections = 0;
  const servers: NetServer[] = [];
  const listen = async (where: { host: string; port: number } | { path: string }): Promise<NetServer> => {
    const server = createServer((socket) => socket.end(`${++connections}`));
    servers.push(server);
    await new Promise<void>((resolve, reject) => server.once("error", reject).listen(where, resolve));
    return server;
  };
  const network = await listen({ host: "::", port: 0 });
  await listen({ path: socketFile });
  await listen({ path: `\0${abstractSocket}` });
  chmodSync(socketFile, 0o777);
  return {
    ...{ secret, secretFile, socketFile, abstractSocket },
    port: (network.address() as { port: number }).port,
    hostAddresses: Object.values(networkInterfaces())
      .flatMap((list) => list ?? [])
      .filter(({ internal, family }) => !internal && family === "IPv4")
      .map(({ address }) => address),
    connections: () => connections,
    async [Symbol.asyncDispose]() {
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
