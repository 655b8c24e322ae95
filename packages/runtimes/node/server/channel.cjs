"use strict";
// Frames on file descriptor 3, as CHANNEL.md has them: reading without copies, writing gathered per turn.

const fs = require("node:fs");
const net = require("node:net");

const FD = 3;
const HEAD = 9; // u32 length, u8 kind, u32 id
const MAX_FRAME = 64 * 1024 * 1024;
const READ_BYTES = 64 * 1024;
const OUT_BYTES = 64 * 1024;
/** A host that reads slower than user code logs makes user code wait, from this much on. */
const MAX_QUEUED = 8 * 1024 * 1024;
/** A turn that has run for this long (ms) hands out what it has before going on. */
const SLOW_TURN = 1;

// Taken now: user code may patch all of it later.
// writevSync, since writeSync trips over a property `error` or `errno` of Object.prototype.
const writevSync = fs.writevSync;
const { nextTick } = process;
const { setImmediate, setTimeout } = globalThis;
const now = performance.now.bind(performance);
const reallyExit = process.reallyExit.bind(process);
const allocate = Buffer.allocUnsafeSlow;
const byteLength = Buffer.byteLength;
const { write: bufferWrite, copy: bufferCopy, subarray, utf8Slice } = Buffer.prototype;
const apply = Reflect.apply;
const sleeper = new Int32Array(new SharedArrayBuffer(4));
const sleep = Atomics.wait;
const doubleView = new Float64Array(1);
const doubleBytes = new Uint8Array(doubleView.buffer);

let out = allocate(OUT_BYTES);
let outStart = 0;
let outEnd = 0;
/** The bytes of one write. */
const view = [out];
let flushScheduled = false;
let retryScheduled = false;
/** When the frames now gathered began, and when the frames now read came. */
let gatheredSince = 0;
let readSince = 0;

/** Makes room for `bytes` more at outEnd. */
function reserve(bytes) {
  if (outEnd + bytes <= out.length) return;
  flush();
  while (outEnd - outStart > MAX_QUEUED) {
    sleep(sleeper, 0, 0, 1);
    flush();
  }
  if (outEnd + bytes <= out.length) return;
  const queued = outEnd - outStart;
  const bigger = allocate(Math.max(out.length * 2, queued + bytes));
  apply(bufferCopy, out, [bigger, 0, outStart, outEnd]);
  out = bigger;
  outStart = 0;
  outEnd = queued;
}

function writeHead(at, payloadBytes, kind, id) {
  const length = payloadBytes + 5;
  out[at] = length;
  out[at + 1] = length >>> 8;
  out[at + 2] = length >>> 16;
  out[at + 3] = length >>> 24;
  out[at + 4] = kind;
  out[at + 5] = id;
  out[at + 6] = id >>> 8;
  out[at + 7] = id >>> 16;
  out[at + 8] = id >>> 24;
}

/** What a string may take in UTF-8; exact once that matters. */
function roomFor(text) {
  return text.length < 8192 ? text.length * 3 : byteLength(text);
}

/** Writes everything gathered, as far as the socket takes it; the rest follows when it can. */
function flush() {
  while (outStart < outEnd) {
    let written;
    try {
      view[0] = apply(subarray, out, [outStart, outEnd]);
      written = writevSync(FD, view);
    } catch (error) {
      if (error.code === "EAGAIN") {
        if (!retryScheduled) {
          retryScheduled = true;
          setTimeout(retry, 1);
        }
        return;
      }
      reallyExit(0); // The host is gone: the order to exit.
    }
    outStart += written;
  }
  outStart = outEnd = 0;
  if (out.length > 16 * OUT_BYTES) out = allocate(OUT_BYTES);
}

function retry() {
  retryScheduled = false;
  flush();
}

function flushAtEndOfTurn() {
  flushScheduled = false;
  flush();
}

/** A frame is complete: it leaves at the end of this turn, or now if the turn takes long. */
function sent() {
  if (!flushScheduled) {
    flushScheduled = true;
    gatheredSince = now();
    nextTick(flushAtEndOfTurn);
  } else if (outEnd - outStart > OUT_BYTES / 2 || now() - gatheredSince > SLOW_TURN) flush();
}

/** Sends a frame whose payload is text. Returns the payload's size; beyond `limit` bytes nothing is sent. */
function sendText(kind, id, text, limit = MAX_FRAME - 5) {
  if (text.length > limit) return text.length;
  reserve(HEAD + roomFor(text));
  const bytes = apply(bufferWrite, out, [text, outEnd + HEAD]);
  if (bytes > limit) return bytes;
  writeHead(outEnd, bytes, kind, id);
  outEnd += HEAD + bytes;
  sent();
  return bytes;
}

/** Sends a LOG frame, at once: the code that runs next may never give the turn back, and be killed for it. */
function sendLog(id, level, flags, time, text) {
  reserve(HEAD + 10 + roomFor(text));
  const at = outEnd;
  const bytes = apply(bufferWrite, out, [text, at + HEAD + 10]);
  writeHead(at, bytes + 10, 0x85, id);
  out[at + HEAD] = level;
  out[at + HEAD + 1] = flags;
  doubleView[0] = time;
  for (let i = 0; i < 8; i++) out[at + HEAD + 2 + i] = doubleBytes[i];
  outEnd = at + HEAD + 10 + bytes;
  flush();
}

/** Sends a frame of u32 head length, head text, body bytes. */
function sendHeadAndBody(kind, id, head, body) {
  const headRoom = roomFor(head);
  reserve(HEAD + 4 + headRoom + body.length);
  const at = outEnd;
  const headBytes = apply(bufferWrite, out, [head, at + HEAD + 4]);
  out[at + HEAD] = headBytes;
  out[at + HEAD + 1] = headBytes >>> 8;
  out[at + HEAD + 2] = headBytes >>> 16;
  out[at + HEAD + 3] = headBytes >>> 24;
  apply(bufferCopy, body, [out, at + HEAD + 4 + headBytes]);
  writeHead(at, 4 + headBytes + body.length, kind, id);
  outEnd = at + HEAD + 4 + headBytes + body.length;
  sent();
}

/** Sends a frame whose payload is bytes, which may be used again afterwards. */
function sendBytes(kind, id, payload) {
  const { length } = payload;
  reserve(HEAD + length);
  writeHead(outEnd, length, kind, id);
  apply(bufferCopy, payload, [out, outEnd + HEAD]);
  outEnd += HEAD + length;
  sent();
}

/** Sends a frame whose payload is a u32. */
function sendNumber(kind, id, number) {
  reserve(HEAD + 4);
  const at = outEnd;
  writeHead(at, 4, kind, id);
  for (let i = 0; i < 4; i++) out[at + HEAD + i] = number >>> (8 * i);
  outEnd = at + HEAD + 4;
  sent();
}

/** Sends a FILE frame; the payload may be used again afterwards. */
function sendFile(id, transfer, operation, payload) {
  const { length } = payload;
  reserve(HEAD + 5 + length);
  const at = outEnd;
  writeHead(at, 5 + length, 0x88, id);
  out[at + HEAD] = transfer;
  out[at + HEAD + 1] = transfer >>> 8;
  out[at + HEAD + 2] = transfer >>> 16;
  out[at + HEAD + 3] = transfer >>> 24;
  out[at + HEAD + 4] = operation;
  apply(bufferCopy, payload, [out, at + HEAD + 5]);
  outEnd = at + HEAD + 5 + length;
  sent();
}

function readU32(buffer, at) {
  return (buffer[at] | (buffer[at + 1] << 8) | (buffer[at + 2] << 16) | (buffer[at + 3] << 24)) >>> 0;
}

function text(buffer, start, end) {
  return apply(utf8Slice, buffer, [start, end]);
}

/** A copy of bytes of a frame. */
function bytes(buffer, start, end) {
  const copy = allocate(end - start);
  apply(bufferCopy, buffer, [copy, 0, start, end]);
  return copy;
}

/**
 * Opens the channel. `onFrame(kind, id, buffer, start, end)` gets each frame's payload in place: it must copy what
 * it keeps. It returns false to be asked again in the next turn, before which all that is finished is sent.
 */
function open(onFrame) {
  /** A frame that is not complete yet. */
  let partial = null;
  let partialLength = 0;
  /** Frames put off to the next turn. */
  let waiting = null;

  /** Takes the frames in buffer[start, end); returns where it stopped. */
  function take(buffer, start, end) {
    while (end - start >= 4) {
      const length = readU32(buffer, start);
      if (length < 5 || length > MAX_FRAME) reallyExit(1);
      const next = start + 4 + length;
      if (next > end) break;
      if (onFrame(buffer[start + 4], readU32(buffer, start + 5), buffer, start + HEAD, next) === false) {
        putOff(buffer, start, end);
        return end;
      }
      start = next;
      if (start < end && now() - readSince > SLOW_TURN) {
        putOff(buffer, start, end);
        return end;
      }
    }
    return start;
  }

  function putOff(buffer, start, end) {
    waiting = allocate(end - start);
    apply(bufferCopy, buffer, [waiting, 0, start, end]);
    setImmediate(goOn);
  }

  function goOn() {
    const buffer = waiting;
    waiting = null;
    readSince = now();
    flush();
    keep(buffer, take(buffer, 0, buffer.length), buffer.length);
    if (waiting === null) socket.resume();
  }

  /** Keeps the start of a frame until the rest comes. */
  function keep(buffer, start, end) {
    if (start === end) return;
    const have = end - start;
    const need = have >= 4 ? readU32(buffer, start) + 4 : 4;
    if (need > MAX_FRAME + 4) reallyExit(1);
    partial = allocate(Math.max(need, HEAD));
    partialLength = have;
    apply(bufferCopy, buffer, [partial, 0, start, end]);
  }

  /** Adds to the frame begun earlier; returns where the next frame starts. */
  function complete(buffer, end) {
    let start = 0;
    while (partial !== null && start < end) {
      const need = partialLength < 4 ? 4 : readU32(partial, 0) + 4;
      if (need > MAX_FRAME + 4) reallyExit(1);
      if (need > partial.length) {
        const bigger = allocate(need);
        apply(bufferCopy, partial, [bigger, 0, 0, partialLength]);
        partial = bigger;
      }
      const more = Math.min(need - partialLength, end - start);
      apply(bufferCopy, buffer, [partial, partialLength, start, start + more]);
      start += more;
      partialLength += more;
      if (partialLength >= 4 && partialLength === readU32(partial, 0) + 4) {
        const frame = partial;
        const length = partialLength;
        partial = null;
        take(frame, 0, length);
      }
    }
    return start;
  }

  const buffer = allocate(READ_BYTES);
  const socket = new net.Socket({
    fd: FD,
    readable: true,
    writable: false,
    onread: {
      buffer,
      callback(bytes) {
        readSince = now();
        let start = partial === null ? 0 : complete(buffer, bytes);
        if (waiting !== null) {
          // The completed frame was put off: what came behind it waits with it.
          const all = allocate(waiting.length + bytes - start);
          apply(bufferCopy, waiting, [all, 0]);
          apply(bufferCopy, buffer, [all, waiting.length, start, bytes]);
          waiting = all;
          return false;
        }
        start = take(buffer, start, bytes);
        keep(buffer, start, bytes);
        return waiting === null;
      },
    },
  });
  socket.on("error", () => reallyExit(0));
  socket.on("close", () => reallyExit(0));
  socket.on("end", () => reallyExit(0));
  socket.resume();
  // process.exit() of user code ends here: what is finished still leaves.
  process.reallyExit = (code) => {
    flush();
    reallyExit(code);
  };
}

module.exports = { open, sendText, sendLog, sendHeadAndBody, sendBytes, sendNumber, sendFile, flush, bytes, text, readU32 };
