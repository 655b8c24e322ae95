import { join } from "node:path";
import { builtFunction } from "../../../test/conformance/built-function.ts";
import { manifest } from "../go/manifest.ts";
import { ChannelClient, type LoadOptions } from "./channel-client.ts";

const found = await manifest.find();

/** Why Go cannot be tested here; null: it can. */
export const goMissing = "command" in found ? null : `${found.reason} ${found.remedy}`;

/** Longest that the first build may take. */
export const GO_BUILD_MS = 5 * 60_000;

/** Builds `go/conformance/channel`, unless that has been done, and gives the folder of its program. */
export async function builtGo(): Promise<string> {
  if (!("command" in found)) throw new Error(found.reason);
  const folder = join(import.meta.dirname, "../go");
  return (await builtFunction({ name: "go", folder, runtime: found, unsupported: {} }, found, "channel")).code;
}

/** Starts what was built, speaking frames, as a plain process. Dispose of it. */
export async function startGo(environment: Record<string, string> = {}): Promise<ChannelClient> {
  if (!("command" in found)) throw new Error(found.reason);
  const code = await builtGo();
  return new ChannelClient(found.command({ transport: "frames", heapBytes: null, code, dependencies: null }), { environment });
}

/** The same, loaded; fails the test when it says that it does not load. */
export async function startLoadedGo(options: LoadOptions = {}, environment: Record<string, string> = {}): Promise<ChannelClient> {
  const client = await startGo(environment);
  const { errors } = await client.load({ contract: "handler", ...options });
  if (Object.keys(errors).length === 0) return client;
  await client[Symbol.asyncDispose]();
  throw new Error(`Load errors: ${JSON.stringify(errors)}`);
}
