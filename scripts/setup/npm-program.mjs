import { delimiter } from "node:path";
import { root } from "./layout.mjs";
import { findProgram } from "./programs.mjs";

/** npm as the machine has it: not the one in our node_modules, which an `npm ci` removes from under itself. */
export function npmProgram() {
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => !folder.startsWith(root));
  return findProgram("npm", folders.join(delimiter));
}
