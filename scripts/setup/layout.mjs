import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** What the set-up fetches for itself; ignored by git, safe to delete. */
export const tools = join(root, ".tools");
