import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Duplex } from "node:stream";
import { expect, test } from "vitest";
import { manifest } from "../node/manifest.ts";
import { ChannelClient } from "./channel-client.ts";
import { nodeCommand, startNode } from "./node-server.ts";

test("a full heap is a crash of the process, not a hang", async () => {
  const runtime = await manifest.find();
  if (!("command" in runtime)) throw new Error(runtime.reason);
  const heapFlag = runtime
    .command({ transport: "frames", heapBytes: 32 * 1024 * 1024, code: null, dependencies: null })
    .find((each) => each.includes("old-space"));
  expect(heapFlag).toBe("--max-old-space-size=32");
  const [program, ...args] = await nodeCommand("frames");
  await using client = new ChannelClient([program as string, heapFlag as string, ...args]);
  await client.load({ functions: { fill: "const a = []; for (;;) a.push(new Array(1000).fill(a.length));" } });
  await expect(client.call("fill")).rejects.toThrow("closed the channel");
  expect((await client.exited).signal).toBe("SIGABRT");
});

test("a frame that breaks the rules ends the process", async () => {
  for (const frame of [
    [5, 0, 0, 0, 0x77, 1, 0, 0, 0],
    [4, 0, 0, 0, 4, 1, 0, 0, 0],
    [255, 255, 255, 255, 4, 1, 0, 0, 0],
  ]) {
    const client = await startNode({ functions: { a: "return 1" } });
    (client.child.stdio[3] as Duplex).write(Buffer.from(frame));
    expect((await client.exited).code).toBe(1);
  }
});

test("a host that reads slowly gets every log line, and the runtime's memory stays bounded", async () => {
  const [program, ...args] = await nodeCommand("frames");
  const child = spawn(program as string, args, { stdio: ["ignore", "ignore", "inherit", "pipe"] });
  const socket = child.stdio[3] as Duplex;
  const send = (kind: number, payload: string | Buffer) => {
    const head = Buffer.alloc(9);
    head.writeUInt32LE(5 + Buffer.byteLength(payload), 0);
    head.writeUInt8(kind, 4);
    head.writeUInt32LE(1, 5);
    socket.write(Buffer.concat([head, Buffer.from(payload)]));
  };
  const code = "for (let i = 0; i < 20000; i++) console.log(String(i).padEnd(2000)); return process.memoryUsage().rss;";
  const limits = { resultBytes: 1000, logBytes: 1e9, logEntryCharacters: 8000 };
  send(
    1,
    JSON.stringify({
      contract: "inline",
      functions: { f: { code, parameters: [] } },
      allowedModules: null,
      environment: {},
      limits,
    }),
  );
  send(2, Buffer.concat([Buffer.from([1, 0]), Buffer.from("f{}")]));
  await new Promise((resolve) => setTimeout(resolve, 300)); // 40 MB want to leave, and nobody reads.
  let data: Buffer = Buffer.alloc(0);
  let lines = 0;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    data = data.length === 0 ? chunk : Buffer.concat([data, chunk]);
    let at = 0;
    let result: number | null = null;
    while (data.length - at >= 4 && data.length - at >= 4 + data.readUInt32LE(at)) {
      const length = data.readUInt32LE(at);
      const kind = data.readUInt8(at + 4);
      if (kind === 0x85) expect(Number.parseInt(data.toString("utf8", at + 19, at + 30), 10)).toBe(lines++);
      if (kind === 0x83) result = Number(data.toString("utf8", at + 9, at + 4 + length));
      at += 4 + length;
    }
    data = data.subarray(at);
    if (result !== null) {
      expect(result).toBeLessThan(150e6);
      break;
    }
  }
  expect(lines).toBe(20_000);
  socket.destroy();
  if (child.exitCode === null) await once(child, "exit");
});

test("an idle instance with a function loaded stays under 60 MB", async () => {
  await using client = await startNode({ functions: { rss: "return process.memoryUsage().rss / 1e6;" } });
  expect(await client.result("rss")).toBeLessThan(60);
});
