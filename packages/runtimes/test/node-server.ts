import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { manifest } from "../node/manifest.ts";
import { ChannelClient, type LoadOptions } from "./channel-client.ts";

const SERVER = join(import.meta.dirname, "../node/server");

/** The manifest's command, with paths of this machine instead of the sandbox's. */
export async function nodeCommand(transport: "frames" | "http"): Promise<string[]> {
  const runtime = await manifest.find();
  if (!("command" in runtime)) throw new Error(runtime.reason);
  const [, ...rest] = runtime.command({ transport, heapBytes: null, code: null, dependencies: null });
  return [process.execPath, ...rest.map((argument) => argument.replace("/runtime/node", SERVER))];
}

/** A runtime server with functions loaded; fails the test when one does not load. */
export async function startNode(options: LoadOptions): Promise<ChannelClient> {
  const client = new ChannelClient(await nodeCommand("frames"));
  const report = await client.load(options);
  if (Object.keys(report.errors).length > 0) {
    await client[Symbol.asyncDispose]();
    throw new Error(`Load errors: ${JSON.stringify(report.errors)}`);
  }
  return client;
}

/** A temporary folder with these files; removed when disposed of. */
export function folderOf(files: Record<string, string>): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), "treadle-node-"));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), text);
  }
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}
