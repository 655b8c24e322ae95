// Writes the reference pages that are made from code. A test compares them.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorsPage } from "./errors-page.ts";
import { settingsPage } from "./settings-page.ts";

const folder = join(import.meta.dirname, "..", "..", "..", "..", "docs", "reference");
writeFileSync(join(folder, "settings.md"), settingsPage());
writeFileSync(join(folder, "errors.md"), errorsPage());
