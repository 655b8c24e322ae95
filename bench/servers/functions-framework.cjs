// The server that @google-cloud/functions-framework's command makes, by the entry it has for tests, because its command
// listens on every address of the machine. The first argument is the folder it is installed in.
const { createRequire } = require("node:module");
const { join } = require("node:path");

const requireThere = createRequire(join(process.argv[2], "package.json"));
const { http } = requireThere("@google-cloud/functions-framework");
const { getTestServer } = requireThere("@google-cloud/functions-framework/testing");

http("hello", (request, response) => {
  const start = performance.now();
  const result = `Hello ${request.body.parameters.name}`;
  response.json({ result, logs: [], duration: performance.now() - start });
});
const server = getTestServer("hello");
server.setTimeout(0);
server.listen(0, "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
process.on("SIGTERM", () => process.exit(0));
