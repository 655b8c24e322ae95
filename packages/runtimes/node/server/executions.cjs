"use strict";
// The execution that the running code belongs to, followed through timers, promises and callbacks.

const { AsyncLocalStorage } = require("node:async_hooks");
const ownMethods = require("./own-methods.cjs");

const storage = ownMethods(new AsyncLocalStorage(), "run", "getStore");

/** One call of user code, from its CALL to its RESULT or ERROR. */
class Execution {
  constructor(id, functionName) {
    this.id = id;
    this.functionName = functionName;
    /** An answer was given, or the host gave up on it: what it still does is nobody's. */
    this.ended = false;
    this.logBytes = 0;
    this.logTruncated = false;
    /** Its log entries are not wanted. */
    this.silent = false;
    /** Lines begun but not ended on stdout and stderr. */
    this.lines = null;
    /** Its own Console, from the first group, count or timer on. */
    this.console = null;
    /** HTTP: its entries, where they are kept until it ends, and how to end it. */
    this.entries = null;
    this.fail = null;
    /** A request's body that comes in pieces, and what is left of the credit of a response that leaves in pieces. */
    this.body = null;
    this.sending = null;
    /** Its files being saved or opened; made with the first. */
    this.transfers = null;
  }
}

/** The running execution; undefined outside of any, and once it has ended. */
function current() {
  const execution = storage.getStore();
  return execution === undefined || execution.ended ? undefined : execution;
}

/** Whether what this process speaks with its host has frames for files. */
const transport = { hasFiles: false };

module.exports = { Execution, current, storage, transport };
