import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Place } from "../harness/place.ts";
import { limitFor, ROUNDS } from "./rounds.ts";

const MEBIBYTE = 1024 * 1024;

test(
  "a full disk refuses saves, keeps what was acknowledged, and is got over when there is room again",
  async (ctx) => {
    if (process.getuid?.() !== 0) return ctx.skip("mounting a small tmpfs needs root");
    await using place = new Place();
    mkdirSync(place.dataDirectory);
    const mount = spawnSync("mount", ["-t", "tmpfs", "-o", "size=400m,mode=0700", "treadle-test", place.dataDirectory], {
      encoding: "utf8",
    });
    if (mount.status !== 0) return ctx.skip(`a tmpfs cannot be mounted here: ${mount.stderr.trim()}`);
    try {
      const server = await place.start({ prewarmed: "0" });
      await server.save("before", { f: { code: "return 'before'" } });
      const filler = join(place.dataDirectory, "filler");
      for (let round = 0; round < ROUNDS; round++) {
        const { bavail, bsize } = statfsSync(place.dataDirectory);
        writeFileSync(filler, Buffer.alloc(Math.max(0, bavail * bsize - 2 * MEBIBYTE), 1));
        const acknowledged = new Set<number>();
        const codes = new Set<string | undefined>();
        for (let i = 0; i < 60 && !codes.has("STORAGE_UNAVAILABLE"); i++) {
          // What does not compress fills faster.
          const text = Buffer.from(Array.from({ length: 200_000 }, () => Math.floor(Math.random() * 256))).toString("base64");
          const answer = await server.send("POST", `/v2/functions/full${round}-${i}`, {
            functions: { f: { code: `return ${i} // ${text}` } },
          });
          if (answer.status === 200) acknowledged.add(i);
          else codes.add(answer.code);
        }
        expect([...codes]).toEqual(["STORAGE_UNAVAILABLE"]);
        // Calls of what is there go on.
        expect(await server.result("before", "f")).toBe("before");
        rmSync(filler);
        await expect
          .poll(
            async () =>
              (await server.send("POST", `/v2/functions/room${round}`, { functions: { f: { code: "return 'room'" } } })).status,
            { timeout: 20_000 },
          )
          .toBe(200);
        expect(await server.result(`room${round}`, "f")).toBe("room");
        for (const i of acknowledged) expect(await server.result(`full${round}-${i}`, "f")).toBe(i);
        for (const i of acknowledged) expect((await server.send("DELETE", `/v2/functions/full${round}-${i}`)).status).toBe(204);
      }
      place.observe();
      expect(await server.stop()).toEqual({ code: 0, signal: null });
      const again = await place.start({ prewarmed: "0" });
      expect(await again.result("before", "f")).toBe("before");
      for (let round = 0; round < ROUNDS; round++) expect(await again.result(`room${round}`, "f")).toBe("room");
      place.observe();
      expect(await again.stop()).toEqual({ code: 0, signal: null });
      expect(await place.leftovers()).toEqual([]);
    } finally {
      await place.endProcesses();
      spawnSync("umount", ["--lazy", place.dataDirectory]);
    }
  },
  limitFor(40_000),
);
