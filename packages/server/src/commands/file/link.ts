import type { Command } from "commander";
import { path, ServerClient } from "../server-client.ts";
import { secondsOf } from "./amounts.ts";
import { findFile } from "./find-file.ts";
import { inWorkspace, type WorkspaceOptions } from "./options.ts";

interface LinkOptions extends WorkspaceOptions {
  readonly expires: string;
}

/** `treadle file link`: an address that needs no key. */
export function addLinkCommand(parent: Command): void {
  const command = parent
    .command("link")
    .description("Print an address that gives a file's bytes without a key, for a while.")
    .argument("<file>", "its id, or its name: the newest of that name")
    .option("--expires <span>", "how long it works: 90s, 15m, 2h, at most 7d", "15m")
    .option("--json", "print address and end (ms since 1970) as JSON");
  inWorkspace(command).action(async (file: string, { workspace, expires, json, ...options }: LinkOptions) => {
    const expiresSeconds = secondsOf(expires, "--expires");
    const client = new ServerClient(options);
    const { id } = await findFile(client, workspace, file);
    const to = path`/api/v1/workspaces/${workspace}/files/${id}/link`;
    const link = await client.request<{ url: string; expiresAt: number }>("POST", to, { expiresSeconds });
    const url = new URL(link.url, client.url).href;
    process.stdout.write(json ? `${JSON.stringify({ ...link, url })}\n` : `${url}\n`);
  });
}
