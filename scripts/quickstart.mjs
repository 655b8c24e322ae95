// `npm run quickstart`: from a fresh checkout to a sandboxed call, then a server that stays up. With `--once` it stops after the call.
import { demonstrate } from "./quickstart/demonstration.mjs";
import { ensurePortIsFree } from "./quickstart/port.mjs";
import { startServer } from "./quickstart/server.mjs";
import { prepare } from "./setup/prepare.mjs";

const HOST = "127.0.0.1";
const port = process.env.PORT || "4000";
const once = process.argv.includes("--once");

const node = await prepare();
await ensurePortIsFree(HOST, port);
const server = await startServer(node, HOST, port);
let ok = true;
try {
  await demonstrate(server.address);
} catch (error) {
  ok = false;
  console.error(`quickstart: ${error instanceof Error ? error.message : error}`);
}
if (once || !ok) {
  ok = (await server.stop("SIGTERM")) && ok;
} else {
  console.log(`Treadle is listening on ${server.address} and stays up until Ctrl-C.`);
  console.log(`Its API is described at ${server.address}/openapi.json; see README.md for where to go from here.`);
  ok = await server.ended;
}
process.exitCode = ok ? 0 : 1;
