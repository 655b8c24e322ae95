import { startInProcess } from "./in-process.ts";
import { runBehaviours } from "./run-behaviours.ts";

await runBehaviours("process", (language, _runtime, built, environment, socket) =>
  startInProcess(language, built, environment, socket),
);
