import { FrameKind, FrameReader, FrameWriter } from "@treadle/runtimes";
import { type ProcessGround, type ProcessOwner, type ProcessSettings, RuntimeProcess } from "./runtime-process.ts";

const READY_TIMEOUT_MS = 15_000;

/** Who listens to a process that speaks frames. */
export interface FramesOwner extends ProcessOwner {
  /** Returns true when it keeps none of the bytes. */
  onFrame(kind: number, id: number, bytes: Buffer, start: number, end: number): boolean;
}

/** A runtime server that speaks frames, started and answering, with or without user code in it. */
export class FramesProcess {
  readonly process: RuntimeProcess;
  readonly writer: FrameWriter;
  #owner: FramesOwner | null = null;
  #onReady: (() => void) | null = null;

  private constructor(process: RuntimeProcess) {
    this.process = process;
    const { channel } = process.sandbox;
    this.writer = new FrameWriter(channel);
    const reader = new FrameReader((kind, id, bytes, start, end) => {
      if (this.#owner !== null) return this.#owner.onFrame(kind, id, bytes, start, end);
      if (kind === FrameKind.ready) this.#onReady?.();
      return true;
    });
    channel.on("data", (chunk: Buffer) => {
      try {
        reader.push(chunk);
      } catch (error) {
        process.lastOutput.push(`broke the channel: ${error instanceof Error ? error.message : String(error)}`);
        process.reject("it broke the channel");
      }
    });
    // Writing to a process that just died; its exit tells the story.
    channel.on("error", () => undefined);
  }

  /**
   * Starts a runtime server and waits until it is ready.
   * @throws SANDBOX_UNAVAILABLE when the sandbox cannot be built or the server does not come up in it
   */
  static async start(ground: ProcessGround, settings: ProcessSettings): Promise<FramesProcess> {
    const frames = new FramesProcess(await RuntimeProcess.start(ground, settings));
    const ready = new Promise<void>((resolve) => {
      frames.#onReady = resolve;
    });
    await frames.process.whenReady(ready, READY_TIMEOUT_MS);
    return frames;
  }

  /** Hands the process to whoever loads it; events go there from now on. */
  own(owner: FramesOwner): void {
    this.#owner = owner;
    this.process.own(owner);
  }
}
