import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** A port that leads to a server's, at a bounded rate in both directions, so that transfers take long enough to be broken. */
export interface SlowConnection extends AsyncDisposable {
  readonly url: string;
  /** Bytes that went either way so far. */
  readonly passed: number;
  /** Breaks all connections there are. */
  cut(): void;
}

export async function slowConnection(serverUrl: string, bytesPerSecond: number): Promise<SlowConnection> {
  const { port, hostname } = new URL(serverUrl);
  const sockets = new Set<Socket>();
  let passed = 0;
  const pump = async (from: Socket, to: Socket) => {
    try {
      for await (const chunk of from as AsyncIterable<Buffer>) {
        passed += chunk.length;
        await delay((1000 * chunk.length) / bytesPerSecond);
        if (!to.write(chunk)) await once(to, "drain");
      }
      to.end();
    } catch {
      to.destroy();
    }
  };
  const listener = createServer({ allowHalfOpen: true }, (client) => {
    const server = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
      socket.on("error", () => undefined);
    }
    client.on("close", () => server.destroy());
    server.on("close", () => client.destroy());
    void pump(client, server);
    void pump(server, client);
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const cut = () => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    url: `http://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    get passed() {
      return passed;
    },
    cut,
    async [Symbol.asyncDispose]() {
      cut();
      listener.close();
      await once(listener, "close");
    },
  };
}
