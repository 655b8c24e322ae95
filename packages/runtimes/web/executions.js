import { AsyncLocalStorage } from "node:async_hooks";

/** The execution that the running code belongs to, followed through timers, promises and callbacks. */
export const storage = new AsyncLocalStorage();

/** One request on its way through user code. */
export class Execution {
  /** `silent`: its log entries are not wanted. `entries`: where they are gathered for files; null: they go to stdout. */
  constructor(id, silent, entries) {
    this.id = id;
    this.silent = silent;
    this.entries = entries;
    /** An answer was given: what it still does is nobody's. */
    this.ended = false;
    /** Lines begun but not ended, by level; made with the first. */
    this.lines = null;
    /** Ends it because of something that nobody caught. */
    this.fail = () => {};
    /** Frames: what it has logged (bytes), what comes of its request's body, what it may send of its response, and who is told that it was given up. */
    this.logBytes = 0;
    this.body = null;
    this.sending = null;
    this.abort = null;
  }
}
