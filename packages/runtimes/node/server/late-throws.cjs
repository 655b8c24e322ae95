"use strict";
const { current } = require("./executions.cjs");
const logs = require("./logs.cjs");
const { describe } = require("./thrown.cjs");

/**
 * A throw or rejection that nobody caught ends the execution it came from (`fail(execution, error)`), or is only
 * logged. It never ends the process, which other executions share.
 */
module.exports = function catchLateThrows(fail) {
  const caught = (thrown, kind) => {
    const execution = current();
    const error = describe(thrown, execution?.functionName);
    logs.append(execution, logs.ERROR, `${kind}: ${error.stack ?? `${error.name}: ${error.message}`}`);
    if (execution !== undefined) fail(execution, error);
  };
  // A capture callback, since listeners of uncaughtException are user code's to add and remove.
  process.setUncaughtExceptionCaptureCallback((error) => caught(error, "Uncaught"));
  process.on("unhandledRejection", (reason) => caught(reason, "Unhandled rejection"));
};
