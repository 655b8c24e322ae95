import type { Finding } from "@treadle/sandbox";
import type { Settings } from "../../settings/settings.ts";
import { examineDataDirectory, examineMemory, examineNode } from "./machine.ts";
import { examineDatabase, examineInstallers, examineRuntimes } from "./programs.ts";
import { examineSandbox } from "./sandbox.ts";

/** Everything Treadle wants of this machine, in the order it is printed. */
export async function examine(settings: Settings): Promise<Finding[]> {
  return [
    examineNode(),
    examineMemory(),
    await examineDataDirectory(settings.dataDirectory),
    await examineDatabase(settings),
    ...(await examineSandbox()),
    ...(await examineRuntimes()),
    ...examineInstallers(),
  ];
}
