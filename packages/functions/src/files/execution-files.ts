import { isTreadleError, TreadleError } from "@treadle/errors";
import type { NewFile, StoredFile } from "@treadle/files";
import { FileAnswer, type FrameWriter, readFileFrame } from "@treadle/runtimes";
import { Turnstile } from "../turnstile.ts";
import { FILES_TARGET, type FileFolder } from "./file-folders.ts";
import { IncomingBytes } from "./incoming-bytes.ts";

/** Files one execution may save and open, together. */
export const MAX_TRANSFERS = 1_000;
/** Transfers asked for beyond that: each is refused, and from here on it is no mistake any more. */
const MAX_REFUSED = 10_000;
/** Transfers of one execution that are at work at a time; the others wait. */
const CONCURRENT = 4;

/** What the files of an execution need of the instance it runs on. */
export interface InstanceFiles {
  readonly folder: FileFolder;
  readonly writer: FrameWriter;
  /** Bounds the transfers at work over all executions of the instance, and with them what they hold in memory. */
  readonly turnstile: Turnstile;
  /** The path by which user code finds a path inside. */
  pathInside(target: string): string;
}

/** The part of an execution that its files need. */
export interface FilesOwner {
  readonly id: string;
  readonly channelId: number;
  readonly target: { readonly workspace: string };
}

/** The files of one execution: those it was given or opened, and those it saves. Made when it first has to do with one. */
export class ExecutionFiles {
  readonly #execution: FilesOwner;
  readonly #instance: InstanceFiles;
  /** By the runtime's number, also when they are over; null: an open. */
  readonly #transfers = new Map<number, IncomingBytes | null>();
  readonly #turnstile = new Turnstile(CONCURRENT);
  readonly #placing = new Set<Promise<unknown>>();
  readonly #abort = new AbortController();
  #placed = 0;
  #refused = 0;
  #closed = false;

  constructor(execution: FilesOwner, instance: InstanceFiles) {
    this.#execution = execution;
    this.#instance = instance;
  }

  /**
   * Makes a file of the workspace readable for the execution; `path` is where it finds it.
   * @throws UNKNOWN_FILE, FILE_DAMAGED, STORAGE_UNAVAILABLE
   */
  async place(id: string): Promise<{ readonly file: StoredFile; readonly path: string }> {
    const { folder } = this.#instance;
    const file = await folder.owner.files.get(this.#execution.target.workspace, id);
    if (this.#closed) throw hasEnded();
    this.#placed += 1;
    const placing = folder.place(file, this.#execution.id, this.#placed);
    this.#placing.add(placing);
    try {
      return { file, path: this.#instance.pathInside(`${FILES_TARGET}/${await placing}`) };
    } finally {
      this.#placing.delete(placing);
    }
  }

  /** Takes a FILE frame. Returns what is wrong with it when no runtime server of ours would send it. */
  onFrame(bytes: Buffer, start: number, end: number): string | null {
    const frame = readFileFrame(bytes, start, end);
    if (frame === null) return "it sent a malformed file frame";
    const { transfer, operation } = frame;
    const known = this.#transfers.get(transfer);
    switch (operation) {
      case "save":
      case "open":
        if (known !== undefined) return "it used the number of a file transfer twice";
        if (this.#transfers.size >= MAX_TRANSFERS) return this.#refuse(transfer);
        if (operation === "open") this.#begin(transfer, null, () => this.#open(frame.request));
        else {
          const incoming = this.#incoming(transfer);
          this.#begin(transfer, incoming, () => this.#save(frame.request, incoming));
        }
        return null;
      case "data":
        return known?.push(frame.bytes) ? null : "it sent more of a file than it was allowed to";
      case "end":
        known?.end();
        return null;
      case "abort":
        if (known) {
          known.givenUp = true;
          known.fail(new TreadleError("CANCELLED", "The code has given the file up."));
        }
        return null;
    }
  }

  /** The execution has ended: unfinished saves are given up, and what it was given goes away. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#abort.abort();
    for (const incoming of this.#transfers.values()) incoming?.fail(hasEnded());
    this.#instance.folder.clear(this.#execution.id, [...this.#placing]);
  }

  #incoming(transfer: number): IncomingBytes {
    const { channelId } = this.#execution;
    const { writer } = this.#instance;
    return new IncomingBytes((chunks) => {
      if (!this.#closed) writer.writeFileCredit(channelId, transfer, chunks);
    });
  }

  #begin(transfer: number, incoming: IncomingBytes | null, task: () => Promise<object>): void {
    this.#transfers.set(transfer, incoming);
    const inTurn = async () => {
      if (!this.#closed) await this.#answer(transfer, incoming, task);
    };
    const work = this.#turnstile.pass(() => this.#instance.turnstile.pass(inTurn, noteNothing), noteNothing);
    this.#instance.folder.track(work);
  }

  async #answer(transfer: number, incoming: IncomingBytes | null, task: () => Promise<object>): Promise<void> {
    try {
      const result = await task();
      this.#send(transfer, FileAnswer.done, result);
    } catch (error) {
      // Bytes still on their way are dropped.
      incoming?.fail(hasEnded());
      if (incoming?.givenUp !== true) this.#send(transfer, FileAnswer.failed, this.#told(error));
    }
  }

  async #save(request: Readonly<Record<string, unknown>>, incoming: IncomingBytes): Promise<object> {
    const file = newFile(request);
    incoming.open();
    const { folder } = this.#instance;
    return viewOf(await folder.owner.files.put(this.#execution.target.workspace, file, incoming, this.#abort.signal));
  }

  async #open(request: Readonly<Record<string, unknown>>): Promise<object> {
    if (typeof request.id !== "string") throw new TreadleError("BAD_REQUEST", "A file is opened by its id, a string.");
    const { file, path } = await this.place(request.id);
    return { ...viewOf(file), path };
  }

  #refuse(transfer: number): string | null {
    this.#refused += 1;
    if (this.#refused > MAX_REFUSED) return "it floods the channel with files";
    const error = new TreadleError("BAD_REQUEST", `One call can save and open at most ${MAX_TRANSFERS} files.`);
    this.#send(transfer, FileAnswer.failed, this.#told(error));
    return null;
  }

  #send(transfer: number, answer: number, value: object): void {
    if (this.#closed) return;
    const { writer } = this.#instance;
    writer.writeFileAnswer(this.#execution.channelId, transfer, answer, JSON.stringify(value));
  }

  /** What user code gets to see of an error. */
  #told(error: unknown): { readonly code: string; readonly message: string } {
    if (isTreadleError(error)) return { code: error.code, message: error.message };
    if (!this.#closed) this.#instance.folder.owner.warn("a file could not be saved or opened", { err: error });
    return { code: "INTERNAL", message: "The server could not do this; its log has the cause." };
  }
}

function noteNothing(): void {
  // Waiting for a turn is nothing that anybody has to be told of.
}

function hasEnded(): TreadleError {
  return new TreadleError("CANCELLED", "The call has ended before the file was whole.");
}

function viewOf({ id, name, mimeType, size, sha256 }: StoredFile): object {
  return { id, name, mimeType, size, sha256 };
}

/** What code says of a file that it saves; what is said in a wrong type is refused, all else is for `Files` to judge. */
function newFile(request: Readonly<Record<string, unknown>>): NewFile {
  const text = (key: string): string | undefined => {
    const value = request[key];
    if (value === undefined || value === null) return undefined;
    if (typeof value !== "string") throw new TreadleError("BAD_REQUEST", `The ${key} of a file must be a string.`);
    return value;
  };
  const name = text("name");
  if (name === undefined) throw new TreadleError("BAD_REQUEST", "A file needs a name.");
  const mimeType = text("mimeType");
  const description = text("description");
  const { size } = request;
  return {
    name,
    ...(mimeType === undefined ? {} : { mimeType }),
    ...(description === undefined ? {} : { description }),
    ...(Number.isSafeInteger(size) && (size as number) >= 0 ? { size: size as number } : {}),
  };
}
