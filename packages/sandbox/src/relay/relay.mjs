// Runs inside a sandbox: node relay.mjs [--socket PATH] -- COMMAND ARGS...
// Gives programs that only know HTTP proxies by host and port a way to the egress proxy's unix socket: listens on
// 127.0.0.1, passes every connection on, and starts COMMAND with the usual proxy variables set. Without dependencies,
// so that it works wherever node does.
import { spawn } from "node:child_process";
import { fstatSync } from "node:fs";
import { connect, createServer } from "node:net";
import { constants } from "node:os";

const words = process.argv.slice(2);
const end = words.indexOf("--");
const command = words.slice(end + 1);
const socketPath = words[0] === "--socket" ? words[1] : "/run/treadle/egress.sock";
if (end < 0 || command.length === 0 || socketPath === undefined) {
  process.stderr.write("usage: relay.mjs [--socket PATH] -- COMMAND ARGS...\n");
  process.exit(64);
}

const server = createServer({ allowHalfOpen: true }, (client) => {
  const proxy = connect({ path: socketPath, allowHalfOpen: true });
  const drop = () => {
    client.destroy();
    proxy.destroy();
  };
  client.on("error", drop).on("close", drop);
  proxy.on("error", drop).on("close", drop);
  client.pipe(proxy).pipe(client);
});

server.listen(0, "127.0.0.1", () => {
  const url = `http://127.0.0.1:${server.address().port}`;
  const proxies = { HTTP_PROXY: url, HTTPS_PROXY: url, http_proxy: url, https_proxy: url, NODE_USE_ENV_PROXY: "1" };
  const local = "localhost,127.0.0.1,::1";
  const env = { NO_PROXY: local, no_proxy: local, ...process.env, ...proxies };
  // Descriptor 3 is the sandbox's channel; the command may be the one that speaks on it.
  const stdio = [0, 1, 2, ...(isOpen(3) ? [3] : [])];
  const child = spawn(command[0], command.slice(1), { stdio, env });
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"]) {
    process.on(signal, () => child.kill(signal));
  }
  child.on("error", (error) => {
    process.stderr.write(`relay: ${command[0]}: ${error.message}\n`);
    process.exit(127);
  });
  child.on("exit", (code, signal) => process.exit(signal === null ? code : 128 + constants.signals[signal]));
});

function isOpen(descriptor) {
  try {
    const status = fstatSync(descriptor);
    return status.isSocket() && process.env.NODE_CHANNEL_FD !== String(descriptor);
  } catch {
    return false;
  }
}
