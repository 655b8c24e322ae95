// Started by dependencies.faults.test.ts as a process of its own, to be killed in the middle of an installation.
import { findRuntimes } from "@treadle/runtimes";
import { createSandboxDriver } from "@treadle/sandbox";
import { createDependencyInstaller, DEFAULT_DEPENDENCY_SETTINGS } from "../../src/dependencies/index.ts";

const [stateDirectory = "", directory = "", language = "", files = "{}"] = process.argv.slice(2);
const driver = await createSandboxDriver("bubblewrap", { stateDirectory, warn: () => {} });
const { available } = await findRuntimes();
const installer = createDependencyInstaller({
  driver,
  runtimes: available,
  directory,
  settings: DEFAULT_DEPENDENCY_SETTINGS,
  warn: () => {},
});
await installer.resolveAndInstall(language, JSON.parse(files));
