import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { FrameKind, FrameReader, FrameWriter, splitLogFields } from "../src/index.ts";

type Frame = { kind: number; id: number; payload: string };

function readAll(chunks: Iterable<Buffer>): Frame[] {
  const frames: Frame[] = [];
  const reader = new FrameReader((kind, id, bytes, start, end) =>
    frames.push({ kind, id, payload: bytes.toString("utf8", start, end) }),
  );
  for (const chunk of chunks) reader.push(chunk);
  return frames;
}

async function written(write: (writer: FrameWriter) => void): Promise<Buffer> {
  const stream = new PassThrough();
  write(new FrameWriter(stream));
  await new Promise((resolve) => setImmediate(resolve));
  return Buffer.concat([stream.read() ?? Buffer.alloc(0)]);
}

const NAME = Buffer.from("grüße");

test("frames come out as they went in, however the stream is cut", async () => {
  const bytes = await written((writer) => {
    writer.writeText(FrameKind.load, 1, '{"a":"ü"}');
    writer.writeInlineCall(7, NAME, '{"x":1}');
    writer.writeEmpty(FrameKind.cancel, 7);
    writer.writeHandlerCall(8, NAME, '{"method":"GET"}', Buffer.from("body"));
  });
  const whole = readAll([bytes]);
  expect(whole.map((frame) => [frame.kind, frame.id])).toEqual([
    [FrameKind.load, 1],
    [FrameKind.call, 7],
    [FrameKind.cancel, 7],
    [FrameKind.call, 8],
  ]);
  expect(whole[0]?.payload).toBe('{"a":"ü"}');
  expect(whole[1]?.payload.endsWith('grüße{"x":1}')).toBe(true);
  for (let size = 1; size <= bytes.length; size++) {
    const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
      bytes.subarray(index * size, (index + 1) * size),
    );
    expect(readAll(chunks)).toEqual(whole);
  }
});

test("a frame larger than the writer's chunk goes through whole", async () => {
  const text = JSON.stringify("é".repeat(200_000));
  const bytes = await written((writer) => {
    writer.writeText(FrameKind.result, 2, "1");
    writer.writeText(FrameKind.result, 3, text);
    writer.writeText(FrameKind.result, 4, "2");
  });
  expect(readAll([bytes]).map((frame) => frame.payload)).toEqual(["1", text, "2"]);
});

test.each([0, 4, 64 * 1024 * 1024 + 1, 0xffff_ffff])("a frame that says it has %i bytes breaks the channel", (length) => {
  const header = Buffer.alloc(9);
  header.writeUInt32LE(length, 0);
  expect(() => readAll([header])).toThrow(RangeError);
});

test("pieces of bodies and credit are frames of their own", async () => {
  const bytes = await written((writer) => {
    writer.writeBody(3, Buffer.from("piece"));
    writer.writeCredit(3, 2);
    writer.writeBodyEnd(3);
  });
  expect(readAll([bytes])).toEqual([
    { kind: FrameKind.body, id: 3, payload: "piece" },
    { kind: FrameKind.credit, id: 3, payload: "\u0002\0\0\0" },
    { kind: FrameKind.bodyEnd, id: 3, payload: "" },
  ]);
});

test("fields of a log entry are an object, or stay in its text", () => {
  expect(splitLogFields('text\u001e{"a":"\\u001e"}')).toEqual({ text: "text", fields: { a: "\u001e" } });
  for (const text of ["plain", "text\u001e[1]", "text\u001e{", `text\u001e{"a":"${"x".repeat(17_000)}"}`]) {
    expect(splitLogFields(text)).toEqual({ text, fields: null });
  }
});
