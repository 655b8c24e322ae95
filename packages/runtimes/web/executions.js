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
  }
}
