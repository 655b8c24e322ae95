import { Command } from "commander";
import { addGetCommand } from "./file/get.ts";
import { addImportCommand } from "./file/import.ts";
import { addLinkCommand } from "./file/link.ts";
import { addListCommand } from "./file/list.ts";
import { addPutCommand } from "./file/put.ts";
import { addRemoveCommand } from "./file/remove.ts";

/** `treadle file`: stores, brings, lists and removes the files of a workspace. */
export function fileCommand(): Command {
  const command = new Command("file").description("Store, bring, list and remove the files of a workspace.");
  for (const add of [addPutCommand, addGetCommand, addListCommand, addRemoveCommand, addLinkCommand, addImportCommand])
    add(command);
  return command;
}
