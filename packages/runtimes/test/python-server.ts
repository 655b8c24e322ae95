import { manifest } from "../python/manifest.ts";
import type { Runtime, Transport } from "../src/runtime.ts";
import { ChannelClient } from "./channel-client.ts";

const found = await manifest.find();
if (!("command" in found)) throw new Error(`${found.reason} ${found.remedy}`);

/** The Python of this machine. */
export const python: Runtime = found;

/** Its server's command line for a plain process: paths inside the sandbox become host paths. */
export function pythonCommand(transport: Transport): string[] {
  return python
    .command({ transport, heapBytes: null, code: null, dependencies: null })
    .map((part) =>
      python.mounts.reduce(
        (path, { source, target }) => (path.startsWith(`${target}/`) ? source + path.slice(target.length) : path),
        part,
      ),
    );
}

/** Starts a runtime server that speaks frames. Dispose of it. */
export function startPython(options: { environment?: Record<string, string>; cwd?: string } = {}): ChannelClient {
  return new ChannelClient(pythonCommand("frames"), options);
}
