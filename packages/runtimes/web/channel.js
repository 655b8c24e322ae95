// Frames on file descriptor 3, as CHANNEL.md has them: writing gathered per turn, reading without copies where frames come whole. How bytes
// are read and written is the platform's: `receive(onBytes, onClosed)`, and `send(bytes)`, which writes what there is room for and returns how much.

const HEAD = 9; // u32 length, u8 kind, u32 id
const MAX_FRAME = 64 * 1024 * 1024;
const OUT_BYTES = 64 * 1024;
/** A host that reads slower than user code logs makes user code wait, from this much on. */
const MAX_QUEUED = 8 * 1024 * 1024;
/** A turn that has run for this long (ms) hands out what it has before going on. */
const SLOW_TURN = 1;

// Taken now: user code may patch all of it later.
const { setImmediate, setTimeout } = globalThis;
const nextTick = process.nextTick.bind(process);
const now = performance.now.bind(performance);
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const sleeper = new Int32Array(new SharedArrayBuffer(4));
const sleep = Atomics.wait;

let send = () => 0;
let out = new Uint8Array(OUT_BYTES);
let outView = new DataView(out.buffer);
let outStart = 0;
let outEnd = 0;
let flushScheduled = false;
let retryScheduled = false;
/** When the frames now gathered began. */
let gatheredSince = 0;

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
  const bigger = new Uint8Array(Math.max(out.length * 2, queued + bytes));
  bigger.set(out.subarray(outStart, outEnd));
  useBuffer(bigger);
  outStart = 0;
  outEnd = queued;
}

function useBuffer(buffer) {
  out = buffer;
  outView = new DataView(buffer.buffer);
}

/** The head of a frame at outEnd, whose payload follows it there. */
function endFrame(kind, id, payloadBytes) {
  outView.setUint32(outEnd, payloadBytes + 5, true);
  out[outEnd + 4] = kind;
  outView.setUint32(outEnd + 5, id, true);
  outEnd += HEAD + payloadBytes;
}

/** Writes text at a place there is room at; returns its bytes. */
function put(text, at) {
  return encoder.encodeInto(text, at === 0 ? out : out.subarray(at)).written;
}

/** Writes everything gathered, as far as the socket takes it; the rest follows when it can. */
export function flush() {
  while (outStart < outEnd) {
    const written = send(out.subarray(outStart, outEnd));
    if (written <= 0) {
      if (!retryScheduled) {
        retryScheduled = true;
        setTimeout(retry, 1);
      }
      return;
    }
    outStart += written;
  }
  outStart = outEnd = 0;
  if (out.length > 16 * OUT_BYTES) useBuffer(new Uint8Array(OUT_BYTES));
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
function gathered() {
  if (!flushScheduled) {
    flushScheduled = true;
    gatheredSince = now();
    nextTick(flushAtEndOfTurn);
  } else if (outEnd - outStart > OUT_BYTES / 2 || now() - gatheredSince > SLOW_TURN) flush();
}

/** Sends a frame whose payload is text. Returns the payload's size; beyond `limit` bytes nothing is sent. */
export function sendText(kind, id, text, limit = MAX_FRAME - 5) {
  if (text.length > limit) return text.length;
  reserve(HEAD + 3 * text.length);
  const bytes = put(text, outEnd + HEAD);
  if (bytes > limit) return bytes;
  endFrame(kind, id, bytes);
  gathered();
  return bytes;
}

/** Sends a LOG frame, at once: the code that runs next may never give the turn back, and be killed for it. */
export function sendLog(id, level, flags, time, text) {
  reserve(HEAD + 10 + 3 * text.length);
  const at = outEnd + HEAD;
  out[at] = level;
  out[at + 1] = flags;
  outView.setFloat64(at + 2, time, true);
  endFrame(0x85, id, 10 + put(text, at + 10));
  flush();
}

/**
 * Sends a frame of u32 head length, head text and body, which is text or bytes that may be used again afterwards. Returns the body's size; beyond
 * `limit` bytes nothing is sent.
 */
export function sendHeadAndBody(kind, id, head, body, limit) {
  const isText = typeof body === "string";
  if (body.length > limit) return body.length;
  reserve(HEAD + 4 + 3 * head.length + (isText ? 3 * body.length : body.length));
  const at = outEnd + HEAD;
  const headBytes = put(head, at + 4);
  outView.setUint32(at, headBytes, true);
  let bodyBytes = body.length;
  if (isText) bodyBytes = put(body, at + 4 + headBytes);
  else out.set(body, at + 4 + headBytes);
  if (bodyBytes > limit) return bodyBytes;
  endFrame(kind, id, 4 + headBytes + bodyBytes);
  gathered();
  return bodyBytes;
}

/** Sends a frame whose payload is bytes, which may be used again afterwards. */
export function sendBytes(kind, id, payload) {
  reserve(HEAD + payload.length);
  out.set(payload, outEnd + HEAD);
  endFrame(kind, id, payload.length);
  gathered();
}

/** Sends a frame whose payload is a u32. */
export function sendNumber(kind, id, number) {
  reserve(HEAD + 4);
  outView.setUint32(outEnd + HEAD, number, true);
  endFrame(kind, id, 4);
  gathered();
}

export function readU32(buffer, at) {
  return (buffer[at] | (buffer[at + 1] << 8) | (buffer[at + 2] << 16) | (buffer[at + 3] << 24)) >>> 0;
}

export function text(buffer, start, end) {
  return decoder.decode(buffer.subarray(start, end));
}

/**
 * Opens the channel. `onFrame(kind, id, buffer, start, end)` gets each frame's payload in place, and must copy what it keeps. `exit(code)` ends the
 * process: 0 when the host is gone, which is the order to, 1 when it breaks the rules.
 */
export function openChannel(platform, onFrame, exit) {
  send = platform.send;
  /** A frame that is not complete yet. */
  let partial = null;
  let partialLength = 0;
  /** Bytes put off to the next turn, in order; null when none are. */
  let waiting = null;
  let turnSince = 0;

  /** Takes the frames in buffer[start, end) and keeps the start of one that is not complete. */
  const take = (buffer, start, end) => {
    while (end - start >= 4) {
      const length = readU32(buffer, start);
      if (length < 5 || length > MAX_FRAME) exit(1);
      const next = start + 4 + length;
      if (next > end) break;
      onFrame(buffer[start + 4], readU32(buffer, start + 5), buffer, start + HEAD, next);
      start = next;
      if (start < end && now() - turnSince > SLOW_TURN) {
        waiting = [new Uint8Array(buffer.subarray(start, end))];
        setImmediate(goOn);
        return;
      }
    }
    if (start === end) return;
    const have = end - start;
    partial = new Uint8Array(have >= 4 ? Math.max(HEAD, readU32(buffer, start) + 4) : HEAD);
    partial.set(buffer.subarray(start, end));
    partialLength = have;
  };

  /** Adds to the frame begun earlier, and takes it when it is complete; returns where the next one starts. */
  const complete = (buffer) => {
    let start = 0;
    while (partial !== null && start < buffer.length) {
      const need = partialLength < 4 ? 4 : readU32(partial, 0) + 4;
      if (need > MAX_FRAME + 4) exit(1);
      if (need > partial.length) {
        const bigger = new Uint8Array(need);
        bigger.set(partial.subarray(0, partialLength));
        partial = bigger;
      }
      const more = Math.min(need - partialLength, buffer.length - start);
      partial.set(buffer.subarray(start, start + more), partialLength);
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
  };

  const receive = (buffer) => take(buffer, partial === null ? 0 : complete(buffer), buffer.length);

  const goOn = () => {
    const chunks = waiting;
    waiting = null;
    turnSince = now();
    flush();
    for (let i = 0; i < chunks.length; i++) {
      if (waiting === null) receive(chunks[i]);
      else waiting.push(chunks[i]);
    }
  };

  // What is finished leaves also when user code ends the process.
  process.on("exit", flush);
  platform.receive(
    (buffer) => {
      if (waiting !== null) {
        waiting.push(new Uint8Array(buffer));
        return;
      }
      turnSince = now();
      receive(buffer);
    },
    () => exit(0),
  );
}
