import { createHash } from "node:crypto";
import { FileAnswer, readFileFrame } from "../src/file-frames.ts";
import type { ChannelClient } from "./channel-client.ts";

/** A save as the host sees it. */
export interface Save {
  readonly id: number;
  readonly transfer: number;
  readonly request: Readonly<Record<string, unknown>>;
  readonly chunks: Buffer[];
  credit: number;
  end: "end" | "abort" | null;
}

/** The host's side of files: keeps what is saved, and gives credit by hand or by itself. */
export class FileHost {
  readonly saves: Save[] = [];
  readonly opened: string[] = [];
  /** What a runtime server of ours would never do. */
  readonly violations: string[] = [];
  /** Credits given at once, and again for every chunk; 0: only by `credit`. */
  window = 4;
  /** Answers saves of these names with an error instead. */
  readonly refusals = new Map<string, { code: string; message: string }>();
  readonly #client: ChannelClient;
  #changed: (() => void)[] = [];

  constructor(client: ChannelClient) {
    this.#client = client;
    client.onFile = (id, payload) => this.#take(id, payload);
  }

  /** Resolves when `found` says so; looked at after every frame. */
  async until(found: () => boolean): Promise<void> {
    while (!found()) await new Promise<void>((resolve) => this.#changed.push(resolve));
  }

  credit(save: Save, chunks: number): void {
    save.credit += chunks;
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(chunks);
    this.#answer(save.id, save.transfer, FileAnswer.credit, payload);
  }

  fail(save: Save, failure: { code: string; message: string }): void {
    this.#answer(save.id, save.transfer, FileAnswer.failed, JSON.stringify(failure));
  }

  #take(id: number, payload: Buffer): void {
    const frame = readFileFrame(payload, 0, payload.length);
    if (frame === null) {
      this.violations.push(`malformed: ${payload.toString("hex", 0, 40)}`);
      return;
    }
    const { transfer } = frame;
    const save = this.saves.find((each) => each.id === id && each.transfer === transfer);
    if (frame.operation === "open") {
      this.opened.push(String(frame.request.id));
      this.#answer(id, transfer, FileAnswer.done, JSON.stringify({ id: frame.request.id, name: "n", path: frame.request.id }));
    } else if (frame.operation === "save") {
      const begun: Save = { id, transfer, request: frame.request, chunks: [], credit: 0, end: null };
      this.saves.push(begun);
      const refusal = this.refusals.get(String(frame.request.name));
      if (refusal !== undefined) this.fail(begun, refusal);
      else if (this.window > 0) this.credit(begun, this.window);
    } else if (save === undefined || save.end !== null) this.violations.push(`${frame.operation} of no save`);
    else if (frame.operation === "data") {
      if (save.credit === 0) this.violations.push("data without credit");
      save.credit -= 1;
      save.chunks.push(Buffer.from(frame.bytes));
      if (this.window > 0) this.credit(save, 1);
    } else {
      save.end = frame.operation;
      if (frame.operation === "end") this.#done(save);
    }
    for (const wake of this.#changed.splice(0)) wake();
  }

  #done(save: Save): void {
    const bytes = Buffer.concat(save.chunks);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const { name, mimeType } = save.request;
    const info = { id: `id-${save.transfer}`, name, mimeType: mimeType ?? "text/plain", size: bytes.length, sha256 };
    this.#answer(save.id, save.transfer, FileAnswer.done, JSON.stringify(info));
  }

  #answer(id: number, transfer: number, what: number, rest: Buffer | string): void {
    const head = Buffer.alloc(5);
    head.writeUInt32LE(transfer);
    head[4] = what;
    this.#client.send(0x05, id, Buffer.concat([head, Buffer.from(rest as string)]));
  }
}
