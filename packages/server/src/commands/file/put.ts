import { createHash } from "node:crypto";
import { basename } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { TreadleError } from "@treadle/errors";
import type { Command } from "commander";
import { path, ServerClient } from "../server-client.ts";
import { type FileView, storedLine } from "./file-view.ts";
import { HashedFile } from "./hashed-file.ts";
import { inWorkspace, type WorkspaceOptions, withProgressOptions } from "./options.ts";
import { Progress } from "./progress.ts";
import type { PutDescription } from "./resumable-upload.ts";

/** Up to here a file is sent in one request: sending it again costs less than what going on takes. */
const ONE_REQUEST_BYTES = 8 * 1024 * 1024;

interface PutOptions extends WorkspaceOptions {
  readonly name?: string;
  readonly type?: string;
  readonly description?: string;
  readonly public?: true;
  readonly progress?: boolean;
}

/** `treadle file put`: stores files; large ones can be gone on with after a break. */
export function addPutCommand(parent: Command): void {
  const command = parent
    .command("put")
    .description("Store files in a workspace. After a break the same command goes on where it was.")
    .argument("<path...>", "the files; - reads stdin and needs --name")
    .option("--name <name>", "what to call it, instead of the path's last part")
    .option("--type <type>", "media type, such as text/csv [default by the name's ending]")
    .option("--description <text>", "a description for DRS")
    .option("--public", "let everybody who reaches the server read it over DRS")
    .option("--json", "print one JSON object per line and file");
  withProgressOptions(inWorkspace(command)).action(async (paths: readonly string[], options: PutOptions) => {
    if (options.name !== undefined && paths.length > 1)
      throw new TreadleError("BAD_REQUEST", "--name is for one file, and there are several.");
    const client = new ServerClient(options);
    const interrupted = () => {
      process.stderr.write("\ntreadle: interrupted; the same command goes on with a large file where it was\n");
      process.exit(130);
    };
    process.once("SIGINT", interrupted);
    for (const each of paths) {
      const file = each === "-" ? await putStdin(client, options) : await putFile(client, each, options);
      process.stdout.write(options.json ? `${JSON.stringify(file)}\n` : storedLine(file));
    }
    process.off("SIGINT", interrupted);
  });
}

async function putFile(client: ServerClient, filePath: string, options: PutOptions): Promise<FileView> {
  await using source = await HashedFile.open(filePath);
  const description = descriptionOf(options, options.name ?? basename(source.path));
  using progress = new Progress(description.name, options.progress);
  let file: FileView;
  if (source.size <= ONE_REQUEST_BYTES) {
    const bytes = await buffer(source.stream());
    const promised = { size: String(bytes.length), sha256: await source.digest() };
    file = await putAtOnce(client, options.workspace, description, bytes, { "content-length": String(bytes.length) }, promised);
  } else {
    const { uploadResumably } = await import("./resumable-upload.ts");
    file = await uploadResumably(client, options.workspace, source, description, progress);
  }
  return whole(client, options.workspace, file, await source.digest());
}

async function putStdin(client: ServerClient, options: PutOptions): Promise<FileView> {
  if (options.name === undefined) throw new TreadleError("BAD_REQUEST", "what comes from stdin needs a name: give --name.");
  using progress = new Progress(options.name, options.progress);
  const hash = createHash("sha256");
  async function* hashed(): AsyncGenerator<Buffer, void> {
    let bytes = 0;
    for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
      hash.update(chunk);
      bytes += chunk.length;
      progress.update(bytes, null);
      yield chunk;
    }
  }
  const body = Readable.from(hashed(), { objectMode: false });
  const file = await putAtOnce(client, options.workspace, descriptionOf(options, options.name), body);
  return whole(client, options.workspace, file, hash.digest("hex"));
}

function descriptionOf({ type, description, public: open }: PutOptions, name: string): PutDescription {
  return { name, type, description, public: open === true };
}

async function putAtOnce(
  client: ServerClient,
  workspace: string,
  { name, type, public: open, description }: PutDescription,
  body: Uint8Array | Readable,
  headers: Readonly<Record<string, string>> = {},
  promised: Readonly<Record<string, string>> = {},
): Promise<FileView> {
  const query = new URLSearchParams({ name, ...promised });
  if (open) query.set("public", "true");
  if (description !== undefined) query.set("description", description);
  const response = await client.open("POST", `${path`/api/v1/workspaces/${workspace}/files`}?${query}`, {
    headers: { ...headers, "content-type": type ?? "application/octet-stream" },
    body,
  });
  const { files } = JSON.parse((await buffer(response)).toString("utf8")) as { files: readonly [FileView] };
  return files[0];
}

/**
 * Checks that the server has what was read here: another program may have written to the file meanwhile, or since an earlier run sent its first part.
 * @throws CHECKSUM_MISMATCH after removing the file again
 */
async function whole(client: ServerClient, workspace: string, file: FileView, sha256: string): Promise<FileView> {
  if (file.sha256 === sha256) return file;
  await client.request("DELETE", path`/api/v1/workspaces/${workspace}/files/${file.id}`);
  throw new TreadleError(
    "CHECKSUM_MISMATCH",
    `${JSON.stringify(file.name)} has the sha256 ${sha256} here, and ${file.sha256} arrived: it was changed while it was being sent.`,
  );
}
