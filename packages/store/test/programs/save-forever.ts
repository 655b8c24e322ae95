// Saves one workspace after the other into the store of the directory given as argument, printing the name of each when the save has resolved.
import { openStore } from "../../src/index.ts";
import { sampleExecution, sampleFunction } from "../samples.ts";

const [directory = "", prefix = ""] = process.argv.slice(2);
const store = await openStore({ dataDirectory: directory, log: () => {} });
await Promise.all(
  [1, 2, 3].map(async (writer) => {
    for (let index = 0; ; index++) {
      const name = `${prefix}-${writer}-${index}`;
      await store.workspaces.save(name, { mode: "replace", functions: [sampleFunction("f", `return "${name}"`)] });
      store.executions.record(sampleExecution(name));
      process.stdout.write(`${name}\n`);
    }
  }),
);
