import { manifest as bun } from "../bun/manifest.ts";
import { manifest as deno } from "../deno/manifest.ts";
import type { MissingRuntime, Runtime } from "../src/runtime.ts";
import { ChannelClient, type LoadOptions } from "./channel-client.ts";

/** Deno and Bun, as far as this machine has them. */
export const WEB_RUNTIMES = { bun: await bun.find(), deno: await deno.find() };

/** Why a language cannot be tested here; null: it can. */
export function missing(found: Runtime | MissingRuntime): string | null {
  return "command" in found ? null : `${found.reason} ${found.remedy}`;
}

/** Starts the server of a language that speaks frames, as a plain process: paths inside the sandbox become host paths. Dispose of it. */
export function startWeb(found: Runtime | MissingRuntime): ChannelClient {
  if (!("command" in found)) throw new Error(found.reason);
  const places = [...found.mounts, ...found.root.executables].map(({ source, target }) => ({ source, target }));
  const command = found.command({ transport: "frames", heapBytes: null, code: null, dependencies: null }).map((part) => {
    const place = places.find(({ target }) => part === target || part.startsWith(`${target}/`));
    return place === undefined ? part : place.source + part.slice(place.target.length);
  });
  return new ChannelClient(command, { environment: { ...found.environment, HOME: "/tmp" } });
}

/** The same, with a function loaded; fails the test when it does not load. */
export async function startLoadedWeb(found: Runtime | MissingRuntime, options: LoadOptions): Promise<ChannelClient> {
  const client = startWeb(found);
  const { errors } = await client.load(options);
  if (Object.keys(errors).length === 0) return client;
  await client[Symbol.asyncDispose]();
  throw new Error(`Load errors: ${JSON.stringify(errors)}`);
}
