// The way out, when the function has one: the sandbox has no network but loopback, so a listener there hands every connection to the host's proxy
// socket. Both languages look at these variables when they make a request.

const PROXY_SOCKET = "/run/treadle/egress.sock";

/** Sets HTTP_PROXY and its kin once the way is open. */
export async function openEgress(environment) {
  const net = process.getBuiltinModule("node:net");
  const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true }, (client) => {
    const proxy = net.connect({ path: environment.TREADLE_EGRESS_SOCKET ?? PROXY_SOCKET, allowHalfOpen: true });
    const close = () => {
      client.destroy();
      proxy.destroy();
    };
    client.on("error", close).on("close", close);
    proxy.on("error", close).on("close", close);
    client.pipe(proxy);
    proxy.pipe(client);
  });
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  server.unref();
  const address = `http://127.0.0.1:${server.address().port}`;
  for (const [name, value] of [
    ["HTTP_PROXY", address],
    ["HTTPS_PROXY", address],
    ["NO_PROXY", "localhost,127.0.0.1,::1"],
  ]) {
    environment[name] = value;
    environment[name.toLowerCase()] = value;
  }
}
