"use strict";
// The way out, when the function has one: the sandbox has no network but loopback, so a listener there hands every
// connection to the host's proxy socket.

const net = require("node:net");

/** The proxy as environment variables; resolves once it listens. */
async function open(socketPath) {
  const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true }, (client) => {
    const proxy = net.connect({ path: socketPath, allowHalfOpen: true });
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
  const noProxy = "localhost,127.0.0.1,::1";
  const environment = { HTTP_PROXY: address, HTTPS_PROXY: address, NO_PROXY: noProxy };
  for (const name of Object.keys(environment)) {
    process.env[name] = environment[name];
    process.env[name.toLowerCase()] = environment[name];
  }
  useWhenNeeded(environment);
}

/** Tells Node's own clients of the proxy when user code first reaches for one: to load them takes 50 ms and 15 MB. */
function useWhenNeeded(environment) {
  let done = false;
  const use = () => {
    if (done) return;
    done = true;
    // Node 24.14 and newer; before, only clients that read the environment variables find the proxy.
    require("node:http").setGlobalProxyFromEnv?.(environment);
  };
  const { fetch } = globalThis;
  globalThis.fetch = function (...args) {
    use();
    return fetch.apply(this, args);
  };
  Object.defineProperty(globalThis.fetch, "name", { value: "fetch" });
  const Module = require("node:module");
  const load = Module._load;
  Module._load = function (request, ...rest) {
    if (/^(node:)?https?$/.test(request)) use();
    return load.call(this, request, ...rest);
  };
  // ES modules reach built-in modules past Module._load.
  Module.registerHooks?.({
    resolve(specifier, context, next) {
      if (/^(node:)?https?$/.test(specifier)) use();
      return next(specifier, context);
    },
  });
}

module.exports = { open };
