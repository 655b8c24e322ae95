// Puts one file after the other into the data directory given as first argument, printing the id and name of each when the put has resolved. The third argument
// names the step at which it kills itself, the fourth how many puts have come to that step by then.
import { Readable } from "node:stream";
import { openStore } from "@treadle/store";
import { assembleFiles } from "../../src/assemble-files.ts";
import { contentOf } from "../named-content.ts";
import { optionsFor, QUIET } from "../place.ts";

const [directory = "", prefix = "", stage = "", count = "1"] = process.argv.slice(2);
let left = Number(count);

function reached(step: string): void {
  if (step === stage && --left === 0) process.kill(process.pid, "SIGKILL");
}

async function* inPieces(content: Buffer): AsyncGenerator<Buffer> {
  const half = content.length >> 1;
  yield content.subarray(0, half);
  // By now the first half may be on its way to the disk.
  await new Promise((resolve) => setImmediate(resolve));
  reached("receiving");
  yield content.subarray(half);
}

const store = await openStore({ dataDirectory: directory, log: () => {} });
const files = await assembleFiles(optionsFor(store, directory), { ...QUIET, onStep: async (step) => reached(step) });
await Promise.all(
  [1, 2, 3].map(async (writer) => {
    for (let index = 0; ; index++) {
      // Every third has the bytes of another one.
      const name =
        index % 3 === 0 ? `shared-${index}-40000` : `${prefix}-${writer}-${index}-${Math.floor(Math.random() ** 4 * 3_000_000)}`;
      const file = await files.put("w", { name }, Readable.from(inPieces(contentOf(name))));
      process.stdout.write(`${file.id} ${name}\n`);
    }
  }),
);
