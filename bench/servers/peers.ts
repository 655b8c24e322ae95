import { join } from "node:path";
import { PYTHON } from "../measure/machine.ts";
import { Program } from "./program.ts";
import { provideAiohttp, provideFunctionsFramework } from "./provide-peers.ts";

const silent = () => {};

/** One Node process that answers the same and does nothing else. */
export function startBareNodeHttp(): Promise<Program> {
  return Program.start([process.execPath, join(import.meta.dirname, "bare-node-http.ts")], silent);
}

export async function startFunctionsFramework(): Promise<Program> {
  const folder = await provideFunctionsFramework();
  return Program.start([process.execPath, join(import.meta.dirname, "functions-framework.cjs"), folder], silent);
}

export async function startBareAiohttp(): Promise<Program> {
  const folder = await provideAiohttp();
  return Program.start([PYTHON, join(import.meta.dirname, "bare_aiohttp.py"), folder], silent);
}
