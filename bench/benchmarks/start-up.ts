import { join } from "node:path";
import type { Benchmark } from "../benchmark.ts";
import { spread, whole } from "../measure/statistics.ts";
import { temporaryFolder } from "../servers/program.ts";
import { TreadleServer } from "../servers/treadle.ts";
import { CALL, checkHello, HELLO } from "./functions.ts";

export const startUp: Benchmark = {
  name: "start-up",
  title: "Start of the server",
  method: `From the start of \`bin/treadle serve\` to its line \`listening on\`: first with an empty data folder, in which it makes its database, then again with the same
folder, which holds a workspace by then. After each start the function is saved or called once. Stopping is from SIGTERM until the server and everything it
started are gone.`,

  async run({ quick, say }) {
    const rounds = quick ? 2 : 10;
    const first: number[] = [];
    const next: number[] = [];
    const stop: number[] = [];
    const complaints: string[] = [];
    for (let round = 0; round < rounds; round++) {
      say(`round ${round + 1} of ${rounds}`);
      await using folder = await temporaryFolder();
      const data = join(folder.path, "data");
      for (const [starts, use] of [
        [first, (server: TreadleServer) => server.save("start", { hello: HELLO.node })],
        [
          next,
          async (server: TreadleServer) =>
            checkHello((await server.client.send("POST", "/v2/functions/start/run/hello", CALL)).text),
        ],
      ] as const) {
        await using treadle = await TreadleServer.start(data);
        starts.push(treadle.program.startMs);
        await use(treadle);
        complaints.push(...treadle.complaints);
        const asked = performance.now();
        await treadle[Symbol.asyncDispose]();
        stop.push(performance.now() - asked);
      }
    }
    return {
      tables: [
        {
          title: `${rounds} rounds; ms, median (least–most)`,
          columns: ["first start", "next start", "stop"],
          rows: [[spread(first, whole), spread(next, whole), spread(stop, whole)]],
        },
      ],
      bars: [],
      checks: [],
      notes: complaints.map((line) => `Treadle warned: ${line}`),
      measurements: { first, next, stop },
    };
  },
};
