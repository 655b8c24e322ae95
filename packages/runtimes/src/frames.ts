import type { Writable } from "node:stream";
import { FileAnswer } from "./file-frames.ts";

/** Kinds of frames; see CHANNEL.md for direction and payload. */
export const FrameKind = {
  load: 0x01,
  call: 0x02,
  cancel: 0x03,
  ping: 0x04,
  fileAnswer: 0x05,
  body: 0x06,
  bodyEnd: 0x07,
  credit: 0x08,
  ready: 0x81,
  loaded: 0x82,
  result: 0x83,
  error: 0x84,
  log: 0x85,
  pong: 0x86,
  cancelled: 0x87,
  file: 0x88,
  head: 0x89,
  piece: 0x8a,
  bodyCredit: 0x8b,
} as const;

/** Longest frame either side accepts, bytes after the length field. */
export const MAX_FRAME_BYTES = 64 * 1024 * 1024;
/** Bits of a LOG frame's flags. */
export const LogFlag = {
  cut: 1,
  fields: 2,
} as const;

const HEADER_BYTES = 9;
const CHUNK_BYTES = 64 * 1024;

/**
 * Gathers outgoing frames and writes them to the channel once per turn of the event loop, so that many calls made in
 * one turn cost one system call.
 */
export class FrameWriter {
  readonly #channel: Writable;
  #chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  /** Start of what is not yet handed to the channel, and end of what is written, in `#chunk`. */
  #from = 0;
  #to = 0;
  #scheduled = false;
  readonly #flush = () => {
    this.#scheduled = false;
    this.flush();
  };

  constructor(channel: Writable) {
    this.#channel = channel;
  }

  /** Bytes handed to the channel that the other side has not taken yet. */
  get backlogBytes(): number {
    return this.#channel.writableLength + (this.#to - this.#from);
  }

  /** Appends a frame whose payload is a JSON text. */
  writeText(kind: number, id: number, text: string): void {
    const start = this.#reserve(HEADER_BYTES + text.length * 3);
    const length = this.#chunk.write(text, start + HEADER_BYTES, "utf8");
    this.#finish(start, kind, id, length);
  }

  /** Appends a CALL of an inline function; `name` is ASCII or UTF-8 bytes of at most 65,535. */
  writeInlineCall(id: number, name: Buffer, argumentsText: string): void {
    const start = this.#reserve(HEADER_BYTES + 2 + name.length + argumentsText.length * 3);
    let at = start + HEADER_BYTES;
    const chunk = this.#chunk;
    chunk.writeUInt16LE(name.length, at);
    at += 2;
    name.copy(chunk, at);
    at += name.length;
    at += chunk.write(argumentsText, at, "utf8");
    this.#finish(start, FrameKind.call, id, at - start - HEADER_BYTES);
  }

  /** Appends a CALL of a handler function: JSON head and body bytes. */
  writeHandlerCall(id: number, name: Buffer, head: string, body: Uint8Array): void {
    const headBytes = Buffer.byteLength(head);
    const length = 2 + name.length + 4 + headBytes + body.length;
    const start = this.#reserve(HEADER_BYTES + length);
    let at = start + HEADER_BYTES;
    const chunk = this.#chunk;
    chunk.writeUInt16LE(name.length, at);
    at += 2;
    name.copy(chunk, at);
    at += name.length;
    chunk.writeUInt32LE(headBytes, at);
    at += 4;
    at += chunk.write(head, at, "utf8");
    chunk.set(body, at);
    this.#finish(start, FrameKind.call, id, length);
  }

  /** Appends a FILE_ANSWER with JSON text: `done` or `failed`. */
  writeFileAnswer(id: number, transfer: number, answer: number, text: string): void {
    const start = this.#reserve(HEADER_BYTES + 5 + text.length * 3);
    const chunk = this.#chunk;
    chunk.writeUInt32LE(transfer, start + HEADER_BYTES);
    chunk[start + HEADER_BYTES + 4] = answer;
    const length = chunk.write(text, start + HEADER_BYTES + 5, "utf8");
    this.#finish(start, FrameKind.fileAnswer, id, 5 + length);
  }

  /** Appends a FILE_ANSWER that lets the runtime send so many chunks more of a transfer. */
  writeFileCredit(id: number, transfer: number, chunks: number): void {
    const start = this.#reserve(HEADER_BYTES + 9);
    const chunk = this.#chunk;
    chunk.writeUInt32LE(transfer, start + HEADER_BYTES);
    chunk[start + HEADER_BYTES + 4] = FileAnswer.credit;
    chunk.writeUInt32LE(chunks, start + HEADER_BYTES + 5);
    this.#finish(start, FrameKind.fileAnswer, id, 9);
  }

  /** Appends a BODY: a piece of a request's body, at most 256 KiB, which is not copied. `onWritten`: it is not needed any more. */
  writeBody(id: number, bytes: Uint8Array, onWritten?: () => void): void {
    const start = this.#reserve(HEADER_BYTES);
    this.#finish(start, FrameKind.body, id, bytes.length);
    // The payload goes by itself, right behind its head.
    this.#to = start + HEADER_BYTES;
    this.flush();
    this.#channel.write(bytes, onWritten);
  }

  /** Appends a BODY_END: the request's body is whole. */
  writeBodyEnd(id: number): void {
    this.writeEmpty(FrameKind.bodyEnd, id);
  }

  /** Appends a CREDIT: so many pieces more of the response may be sent. */
  writeCredit(id: number, pieces: number): void {
    const start = this.#reserve(HEADER_BYTES + 4);
    this.#chunk.writeUInt32LE(pieces, start + HEADER_BYTES);
    this.#finish(start, FrameKind.credit, id, 4);
  }

  /** Appends a frame without payload. */
  writeEmpty(kind: number, id: number): void {
    this.#finish(this.#reserve(HEADER_BYTES), kind, id, 0);
  }

  /** Hands everything gathered to the channel now. */
  flush(): void {
    if (this.#to === this.#from) return;
    this.#channel.write(this.#chunk.subarray(this.#from, this.#to));
    this.#from = this.#to;
  }

  #reserve(bytes: number): number {
    if (this.#to + bytes > this.#chunk.length) {
      this.flush();
      // Bytes already handed over may still be on their way: they keep the old chunk.
      this.#chunk = Buffer.allocUnsafeSlow(Math.max(CHUNK_BYTES, bytes));
      this.#from = 0;
      this.#to = 0;
    }
    return this.#to;
  }

  #finish(start: number, kind: number, id: number, payloadBytes: number): void {
    const chunk = this.#chunk;
    chunk.writeUInt32LE(payloadBytes + 5, start);
    chunk[start + 4] = kind;
    chunk.writeUInt32LE(id, start + 5);
    this.#to = start + HEADER_BYTES + payloadBytes;
    if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(this.#flush);
    }
  }
}

/**
 * Takes a frame: the payload is `bytes[start, end)`. Returns true when it keeps none of the bytes: they may then be written over. Else they never are, but
 * hold more than this frame: what is kept for long had better be copied.
 */
export type FrameListener = (kind: number, id: number, bytes: Buffer, start: number, end: number) => unknown;

/** Room for a frame under way to begin with, and the most that is kept for the next one. */
const FIRST_ROOM_BYTES = 8 * 1024;
const KEPT_ROOM_BYTES = 512 * 1024;
/** Chunks from this size on are given back to the system at once: a stream of them would be tens of megabytes until the next collection. */
const FREED_BYTES = 16 * 1024;

/** Cuts a stream of bytes from an untrusted runtime into frames. */
export class FrameReader {
  readonly #listener: FrameListener;
  /** A frame that has not arrived whole: its first `#held` bytes, of which there will be `#needed`. */
  #room: Buffer | null = null;
  #held = 0;
  #needed = 0;

  constructor(listener: FrameListener) {
    this.#listener = listener;
  }

  /**
   * Reads what arrived and calls the listener for each whole frame. The chunk is the reader's: it may be freed.
   * @throws RangeError when the stream breaks the rules: the instance must be killed.
   */
  push(chunk: Buffer): void {
    let at = this.#held === 0 ? 0 : this.#complete(chunk);
    let isDone = true;
    while (chunk.length - at >= HEADER_BYTES) {
      const length = checkedLength(chunk, at);
      const end = at + 4 + length;
      if (end > chunk.length) break;
      const kept = this.#listener(chunk[at + 4] as number, chunk.readUInt32LE(at + 5), chunk, at + HEADER_BYTES, end) !== true;
      if (kept) isDone = false;
      at = end;
    }
    if (at < chunk.length) {
      const rest = chunk.length - at;
      this.#needed = rest < HEADER_BYTES ? HEADER_BYTES : 4 + checkedLength(chunk, at);
      this.#take(chunk, at, rest);
    }
    if (isDone && chunk.length >= FREED_BYTES && chunk.length === chunk.buffer.byteLength && chunk.buffer instanceof ArrayBuffer)
      chunk.buffer.transfer(0);
  }

  /** Adds to the frame under way; returns where the next one begins. */
  #complete(chunk: Buffer): number {
    let at = 0;
    while (at < chunk.length) {
      const more = Math.min(this.#needed - this.#held, chunk.length - at);
      this.#take(chunk, at, more);
      at += more;
      if (this.#held < this.#needed) return at;
      const room = this.#room as Buffer;
      this.#needed = 4 + checkedLength(room, 0);
      if (this.#held < this.#needed) continue;
      this.#held = 0;
      const isDone = this.#listener(room[4] as number, room.readUInt32LE(5), room, HEADER_BYTES, this.#needed) === true;
      if (!isDone || room.length > KEPT_ROOM_BYTES) this.#room = null;
      return at;
    }
    return at;
  }

  #take(chunk: Buffer, at: number, bytes: number): void {
    const end = this.#held + bytes;
    // What a frame claims to be is not believed before it comes.
    if (this.#room === null || this.#room.length < end) {
      const room = Buffer.allocUnsafeSlow(Math.max(end, Math.min(this.#needed, Math.max(FIRST_ROOM_BYTES, 2 * end))));
      this.#room?.copy(room, 0, 0, this.#held);
      this.#room = room;
    }
    chunk.copy(this.#room, this.#held, at, at + bytes);
    this.#held = end;
  }
}

function checkedLength(bytes: Buffer, at: number): number {
  const length = bytes.readUInt32LE(at);
  if (length < 5 || length > MAX_FRAME_BYTES) throw new RangeError(`frame of ${length} bytes`);
  return length;
}
