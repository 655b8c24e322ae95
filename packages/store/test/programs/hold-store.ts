// Opens the store of the directory given as argument, prints "open" (or the code of the error), and closes it when its input ends.
import { isTreadleError } from "@treadle/errors";
import { openStore } from "../../src/index.ts";

try {
  await using store = await openStore({ dataDirectory: process.argv[2] ?? "", log: () => {} });
  await store.workspaces.save("held", { mode: "merge", functions: [] });
  console.log("open");
  await new Promise((resolve) => process.stdin.on("end", resolve).resume());
} catch (error) {
  console.log(isTreadleError(error) ? `${error.code} ${error.message}` : String(error));
  process.exitCode = 1;
}
