"use strict";
// Files of the workspace: saving what user code made, and opening what it has the id of. Bytes to be saved go to the host over the
// channel, as fast as it gives credit; what is opened appears below /files. Loaded when first used.

const fs = require("node:fs");
const channel = require("./channel.cjs");
const ownMethods = require("./own-methods.cjs");
const { transport } = require("./executions.cjs");

// What a FILE frame says, and what its answer does.
const SAVE = 1;
const DATA = 2;
const END = 3;
const ABORT = 4;
const OPEN = 5;
const CREDIT = 1;
const DONE = 2;

/** Bytes in one DATA frame. */
const CHUNK = 128 * 1024;
/** Most bytes of JSON that the host takes. */
const MAX_REQUEST = 64 * 1024;
const { O_RDONLY, O_NONBLOCK, O_CLOEXEC = 0 } = fs.constants;
const { parse, stringify } = JSON;
const { isView } = ArrayBuffer;
const { min } = Math;
const { stat } = fs;
const NativePromise = Promise;
const NativeError = Error;
const { captureStackTrace } = Error;
const toBuffer = Buffer.from;
const allocate = Buffer.allocUnsafeSlow;
const { subarray, copy } = Buffer.prototype;
const apply = Reflect.apply;
const own = Object.defineProperty;
const NOTHING = allocate(0);

/** The promise of a function of node:fs that takes a callback. */
function promised(call, ...args) {
  return new NativePromise((resolve, reject) =>
    call(...args, (error, value) => {
      if (error) reject(error);
      else resolve(value);
    }),
  );
}

/** The same promise; an error of the system gets the place in user code where it was awaited. */
async function placed(promise) {
  try {
    return await promise;
  } catch (error) {
    captureStackTrace(error, placed);
    throw error;
  }
}

const { open, fstat, read, close, readFile, createReadStream } = fs;

/** Thrown when the host refuses a file; `code` is that of its catalogue of errors. */
class FileError extends NativeError {
  constructor({ code, message }) {
    super(message);
    this.code = code;
  }
}
FileError.prototype.name = "FileError";

/** One file on its way. */
class Transfer {
  constructor(execution, number) {
    this.execution = execution;
    this.number = number;
    this.credit = 0;
    /** `{ result }` or `{ failure }` once the host has answered, or nobody waits any more. */
    this.outcome = null;
    this.wake = null;
  }

  send(operation, payload) {
    if (!this.execution.ended) channel.sendFile(this.execution.id, this.number, operation, payload);
  }

  /** Resolves when the host has said something. */
  news() {
    return new NativePromise((resolve) => {
      this.wake = resolve;
    });
  }

  settle(outcome) {
    this.outcome ??= outcome;
    this.wake?.();
  }

  /** The host's answer. */
  async result() {
    while (this.outcome === null) await this.news();
    if (this.outcome.failure !== undefined) throw new FileError(this.outcome.failure);
    return this.outcome.result;
  }
}

/** The files of one execution that are being saved or opened. */
class Transfers {
  constructor(execution) {
    this.execution = execution;
    this.last = 0;
    this.open = ownMethods(new Map(), "get", "set", "delete", "forEach");
  }

  begin(operation, request) {
    const text = toBuffer(stringify(request));
    if (text.length > MAX_REQUEST)
      throw new FileError({
        code: "BAD_REQUEST",
        message: "What is said of the file (name, type, description, id) is too long.",
      });
    const transfer = new Transfer(this.execution, ++this.last);
    this.open.set(transfer.number, transfer);
    transfer.send(operation, text);
    return transfer;
  }

  /** Takes the payload of a FILE_ANSWER. */
  answer(buffer, start, end) {
    const transfer = this.open.get(channel.readU32(buffer, start));
    if (transfer === undefined) return;
    const what = buffer[start + 4];
    if (what === CREDIT) {
      transfer.credit += channel.readU32(buffer, start + 5);
      transfer.wake?.();
    } else {
      const told = parse(channel.text(buffer, start + 5, end));
      transfer.settle(what === DONE ? { result: told } : { failure: told });
    }
  }

  /** The execution has ended: nobody answers any more. */
  end() {
    const failure = { code: "CANCELLED", message: "The call ended before the file was whole; await what saves or opens it." };
    this.open.forEach((transfer) => {
      transfer.settle({ failure });
    });
  }
}

/** The transfers of the running execution. @throws when there is none, or nobody to talk to */
function transfersOf(execution, name) {
  if (!transport.hasFiles) throw new NativeError(`${name} is not available over HTTP: this server has no files.`);
  if (execution === undefined || execution.ended) throw new NativeError(`${name} works only while the call runs.`);
  execution.transfers ??= new Transfers(execution);
  return execution.transfers;
}

/** Text or bytes as a Buffer; null for anything else. */
function bufferOf(value) {
  if (typeof value === "string") return toBuffer(value);
  if (isView(value)) return toBuffer(value.buffer, value.byteOffset, value.byteLength);
  return value instanceof ArrayBuffer ? toBuffer(value) : null;
}

/** What an open regular file holds: `size` bytes, or all there is where the system does not know. Each chunk lasts until the next. */
async function* bytesOfFile(fd, size) {
  const buffer = allocate(size === 0 ? CHUNK : min(CHUNK, size));
  for (let at = 0; size === 0 || at < size; ) {
    const wanted = size === 0 ? CHUNK : min(CHUNK, size - at);
    const bytes = await promised(read, fd, buffer, 0, wanted, null);
    if (bytes === 0) return;
    at += bytes;
    yield apply(subarray, buffer, [0, bytes]);
  }
}

/** Parts of any size as chunks for the channel. Each lasts until the next. */
async function* inChunks(parts) {
  const gathered = allocate(CHUNK);
  let filled = 0;
  for await (const part of parts) {
    const bytes = bufferOf(part);
    if (bytes === null) throw new TypeError("The parts of a file's content must be strings or bytes.");
    for (let at = 0; at < bytes.length; ) {
      const more = min(CHUNK - filled, bytes.length - at);
      apply(copy, bytes, [gathered, filled, at, at + more]);
      filled += more;
      at += more;
      if (filled === CHUNK) {
        yield gathered;
        filled = 0;
      }
    }
  }
  if (filled > 0) yield apply(subarray, gathered, [0, filled]);
}

/** Sends a file to the host: resolves to what it has become there. */
async function send(transfers, request, chunks) {
  const transfer = transfers.begin(SAVE, request);
  try {
    for await (const chunk of chunks) {
      while (transfer.credit === 0 && transfer.outcome === null) await transfer.news();
      if (transfer.outcome !== null) break;
      transfer.credit -= 1;
      transfer.send(DATA, chunk);
    }
    if (transfer.outcome === null) transfer.send(END, NOTHING);
    return await transfer.result();
  } catch (error) {
    if (transfer.outcome === null) transfer.send(ABORT, NOTHING);
    throw error;
  } finally {
    transfers.open.delete(transfer.number);
  }
}

/**
 * `saveFile(path, { name, type, description })` or `saveFile({ name, type, description, content })`: content is text, bytes, or something
 * that gives them part by part (a stream, an async generator). Resolves to `{ id, name, mimeType, size, sha256 }`.
 */
async function saveFile(execution, [first, second]) {
  const transfers = transfersOf(execution, "saveFile");
  const options = (typeof first === "string" ? second : first) ?? {};
  if (typeof options !== "object") throw new TypeError("saveFile takes a path and options, or options with the content.");
  const { name, type, description, content } = options;
  const about = { name, mimeType: type, description };
  if (typeof first === "string") return savePath(transfers, first, about);
  if (typeof name !== "string") throw new TypeError("saveFile needs a name for content that has no path.");
  const whole = bufferOf(content);
  if (whole !== null) return send(transfers, { ...about, size: whole.length }, inChunks([whole]));
  const isStream = content?.[Symbol.asyncIterator] !== undefined || content?.[Symbol.iterator] !== undefined;
  if (!isStream) throw new TypeError("The content of a file must be text, bytes, or a stream of them.");
  return send(transfers, about, inChunks(content));
}

async function savePath(transfers, path, about) {
  // A pipe without a writer would keep us waiting.
  const fd = await placed(promised(open, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  try {
    const status = await promised(fstat, fd);
    if (!status.isFile()) throw new TypeError(`${path} is not a regular file.`);
    const { size } = status;
    const name = about.name ?? path.slice(path.lastIndexOf("/") + 1);
    // Files of /proc tell no size.
    return await send(transfers, size === 0 ? { ...about, name } : { ...about, name, size }, bytesOfFile(fd, size));
  } finally {
    close(fd, () => undefined);
  }
}

/**
 * Opens a file of the workspace by its id, or one by its path. Resolves to `{ id, name, mimeType, size, sha256, path }` (by path: name, size and
 * path), with the methods `stream()`, `bytes()` and `text()`, which make do without node:fs.
 */
async function openFile(execution, given) {
  if (typeof given !== "string") throw new TypeError("openFile takes the id of a file, or a path.");
  if (given.startsWith("/")) {
    const status = await placed(promised(stat, given));
    if (!status.isFile()) throw new TypeError(`${given} is not a regular file.`);
    return readable({ name: given.slice(given.lastIndexOf("/") + 1), size: status.size, path: given });
  }
  const transfers = transfersOf(execution, "openFile");
  const transfer = transfers.begin(OPEN, { id: given });
  try {
    return readable(await transfer.result());
  } finally {
    transfers.open.delete(transfer.number);
  }
}

/** Adds ways to read; not listed, so that it can be returned as a result. */
function readable(file) {
  const { path } = file;
  const methods = {
    stream: () => createReadStream(path),
    bytes: () => promised(readFile, path),
    text: () => promised(readFile, path, "utf8"),
  };
  for (const name of Object.keys(methods)) own(file, name, { value: methods[name] });
  return file;
}

module.exports = { openFile, saveFile };
