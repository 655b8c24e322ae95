import { setTimeout as sleep } from "node:timers/promises";
import { ERROR_CATALOGUE, type ErrorCode, TreadleError } from "@treadle/errors";
import type { Command } from "commander";
import { path, ServerClient } from "../server-client.ts";
import { type FileView, storedLine } from "./file-view.ts";
import { inWorkspace, type WorkspaceOptions, withProgressOptions } from "./options.ts";
import { Progress } from "./progress.ts";

const POLL_MS = 300;

interface ImportOptions extends WorkspaceOptions {
  readonly name?: string;
  readonly type?: string;
  readonly sha256?: string;
  readonly size?: string;
  readonly detach?: true;
  readonly progress?: boolean;
}

interface ImportView {
  readonly id: string;
  readonly state: "queued" | "running" | "succeeded" | "failed" | "cancelled";
  readonly received: number;
  readonly size: number | null;
  readonly fileId: string;
  readonly error: { readonly code: string; readonly message: string } | null;
}

/** `treadle file import`: lets the server bring a file from elsewhere, and waits for it. */
export function addImportCommand(parent: Command): void {
  const command = parent
    .command("import")
    .description("Let the server bring a file from an http(s):// or drs:// address, and wait until it is there.")
    .argument("<url>")
    .option("--name <name>", "what to call it [default: what the source calls it]")
    .option("--type <type>", "media type, such as text/csv")
    .option("--sha256 <digest>", "what the bytes must be; others are refused")
    .option("--size <bytes>", "how many they must be")
    .option("--detach", "do not wait: print the import's id")
    .option("--json", "print the file, or with --detach the import, as JSON");
  withProgressOptions(inWorkspace(command)).action(async (url: string, options: ImportOptions) => {
    const { name, type: mimeType, sha256, size, workspace, detach, json } = options;
    if (size !== undefined && !/^\d{1,15}$/.test(size))
      throw new TreadleError("BAD_REQUEST", `--size ${size}: give a whole number.`);
    const client = new ServerClient(options);
    const all = path`/api/v1/workspaces/${workspace}/imports`;
    const begun = await client.request<ImportView>("POST", all, {
      url,
      name,
      mimeType,
      sha256,
      size: size === undefined ? undefined : Number(size),
    });
    if (detach) {
      process.stdout.write(json ? `${JSON.stringify(begun)}\n` : `${begun.id}\n`);
      return;
    }
    const { fileId } = await ended(client, all + path`/${begun.id}`, begun, new Progress(name ?? url, options.progress));
    const file = await client.request<FileView>("GET", path`/api/v1/workspaces/${workspace}/files/${fileId}`);
    process.stdout.write(json ? `${JSON.stringify(file)}\n` : storedLine(file));
  });
}

/** @throws what the import failed with, CANCELLED */
async function ended(client: ServerClient, at: string, begun: ImportView, shown: Progress): Promise<ImportView> {
  using progress = shown;
  for (let now = begun; ; now = await client.request<ImportView>("GET", at)) {
    if (now.state === "succeeded") return now;
    if (now.state === "cancelled") throw new TreadleError("CANCELLED", "The import was cancelled.");
    if (now.state === "failed") throw failureOf(now.error ?? { code: "IMPORT_FAILED", message: "The import failed." });
    progress.update(now.received, now.size);
    await sleep(POLL_MS);
  }
}

function failureOf({ code, message }: { code: string; message: string }): TreadleError {
  return new TreadleError(Object.hasOwn(ERROR_CATALOGUE, code) ? (code as ErrorCode) : "IMPORT_FAILED", message);
}
