import { existsSync, statSync } from "node:fs";
import { link, rename, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { TreadleError } from "@treadle/errors";
import type { Command } from "commander";
import { ServerClient } from "../server-client.ts";
import { Download } from "./download.ts";
import { type FileView, nameText } from "./file-view.ts";
import { findFile } from "./find-file.ts";
import { inWorkspace, type WorkspaceOptions, withProgressOptions } from "./options.ts";
import { PartialFile } from "./partial-file.ts";
import { Progress } from "./progress.ts";

interface GetOptions extends WorkspaceOptions {
  readonly output?: string;
  readonly force?: true;
  readonly progress?: boolean;
}

/** `treadle file get`: brings a file here, checked; what a break left is gone on with. */
export function addGetCommand(parent: Command): void {
  const command = parent
    .command("get")
    .description("Bring a file here and check it. After a break the same command goes on where it was.")
    .argument("<file>", "its id, or its name: the newest of that name")
    .option("-o, --output <path>", "where to: a file, a folder, or - for stdout [default: its name, in this folder]")
    .option("--force", "overwrite what is there")
    .option("--json", "print the file's description and the path as JSON");
  withProgressOptions(inWorkspace(command)).action(async (wanted: string, options: GetOptions) => {
    const client = new ServerClient(options);
    const file = await findFile(client, options.workspace, wanted);
    using progress = new Progress(file.name, options.progress);
    const download = new Download(client, options.workspace, file, progress);
    if (options.output === "-") {
      await download.toStdout();
      return;
    }
    const to = targetOf(file, options.output);
    if (!options.force) refuseExisting(to);
    const partial = await getToPartial(download, to, file);
    await publish(partial, to, options.force === true);
    progress.clear();
    process.stdout.write(options.json ? `${JSON.stringify({ ...file, path: to })}\n` : `${to}\n`);
  });
}

/** The bytes, whole and on disk, beside where they are to be. */
async function getToPartial(download: Download, to: string, file: FileView): Promise<string> {
  await using partial = await PartialFile.open(to, file);
  if (partial.size > 0) process.stderr.write(`going on with ${nameText(to)}\n`);
  await download.toFile(partial);
  await partial.sync();
  return partial.path;
}

/** @throws BAD_REQUEST when the name is none for a file here */
function targetOf({ name }: FileView, output: string | undefined): string {
  const toFolder = output === undefined || statSync(output, { throwIfNoEntry: false })?.isDirectory() === true;
  if (!toFolder) return resolve(output);
  if (name === "." || name === ".." || /[/\\\0]/.test(name))
    throw new TreadleError("BAD_REQUEST", `${JSON.stringify(name)} is no name for a file here: say where to with -o.`);
  return resolve(join(output ?? ".", name));
}

/** Puts the whole file where it is to be, in one step. @throws BAD_REQUEST when something is there, unless `force` */
async function publish(partial: string, to: string, force: boolean): Promise<void> {
  if (!force) {
    try {
      // Unlike a rename a link replaces nothing that has appeared meanwhile.
      await link(partial, to);
      await rm(partial);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") refuseExisting(to);
      // Not every file system has links.
      refuseExisting(to);
    }
  }
  await rename(partial, to).catch((error: NodeJS.ErrnoException) => {
    throw new TreadleError("BAD_REQUEST", `${to} cannot be written: ${error.code ?? error.message}.`);
  });
}

function refuseExisting(to: string): void {
  if (existsSync(to)) throw new TreadleError("BAD_REQUEST", `${to} is there already: say another place with -o, or --force.`);
}
