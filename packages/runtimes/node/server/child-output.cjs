"use strict";
// Child processes that inherit stdout or stderr get pipes instead, so that their output finds its execution.

const { current } = require("./executions.cjs");
const fs = require("node:fs");
const Module = require("node:module");
const logs = require("./logs.cjs");

const { readSync } = fs;
const allocate = Buffer.allocUnsafe;

/** Which of file descriptors 1 and 2 a stdio option hands down, and the option with pipes for these. */
function piped(stdio) {
  const list = typeof stdio === "string" ? [stdio, stdio, stdio] : Array.isArray(stdio) ? [...stdio] : [];
  const inherited = [0, 0, 0];
  for (const index of [1, 2]) {
    const each = list[index];
    if (each === "inherit") inherited[index] = index;
    else if (each === 1 || each === 2) inherited[index] = each;
    else if (each === process.stdout || each === process.stderr) inherited[index] = each.fd;
    if (inherited[index] !== 0) list[index] = "pipe";
  }
  if (list[0] === "inherit") list[0] = "ignore";
  return { inherited, stdio: list, any: inherited[1] !== 0 || inherited[2] !== 0 };
}

/** Takes what a finished child left in a pipe before anybody hears of its exit. */
function drain(stream, take) {
  const fd = stream?._handle?.fd;
  if (!(fd >= 0)) return;
  for (;;) {
    const buffer = allocate(65536);
    try {
      const bytes = readSync(fd, buffer, 0, buffer.length, null);
      if (bytes <= 0) return;
      take(buffer.subarray(0, bytes));
    } catch {
      return; // Nothing more yet, or closed.
    }
  }
}

function patch(childProcess) {
  const { ChildProcess, spawnSync } = childProcess;
  const { spawn } = ChildProcess.prototype;
  ChildProcess.prototype.spawn = function (options) {
    const { inherited, stdio, any } = piped(options?.stdio);
    if (!any) return spawn.call(this, options);
    const execution = current();
    const result = spawn.call(this, { ...options, stdio });
    for (const index of [1, 2]) {
      const stream = this.stdio?.[index];
      if (inherited[index] === 0 || !stream) continue;
      const take = (chunk) => logs.output(inherited[index], chunk, execution);
      stream.on("data", take);
      this.prependListener("exit", () => drain(stream, take));
    }
    return result;
  };
  const sync = (original) =>
    function (...all) {
      const [file, args, options] = all;
      const given = Array.isArray(args) ? options : args;
      const { inherited, stdio, any } = piped(given?.stdio);
      if (!any) return original.apply(this, all);
      const changed = { ...given, stdio };
      const result = Array.isArray(args) ? original.call(this, file, args, changed) : original.call(this, file, changed);
      for (const index of [1, 2]) {
        const bytes = result?.output?.[index];
        if (inherited[index] !== 0 && bytes) logs.output(inherited[index], bytes);
      }
      return result;
    };
  childProcess.spawnSync = sync(spawnSync);
  // These two call the original spawnSync inside of Node: they are built anew on the one above.
  for (const name of ["execSync", "execFileSync"]) {
    const original = childProcess[name];
    childProcess[name] = function (file, ...rest) {
      const options = rest.find((each) => typeof each === "object" && each !== null && !Array.isArray(each));
      if (!piped(options?.stdio).any) return original.call(this, file, ...rest);
      const args = Array.isArray(rest[0]) ? rest[0] : [];
      const shell = name === "execSync" ? { shell: options.shell ?? true } : {};
      const result = childProcess.spawnSync(file, args, { ...options, ...shell });
      if (result.error) throw result.error;
      if (result.status !== 0) {
        const error = new Error(`Command failed: ${[file, ...args].join(" ")}`);
        throw Object.assign(error, result);
      }
      return null;
    };
  }
}

/** Patches child_process once somebody loads it: to load it at start would cost every cold start. */
module.exports = function captureChildren() {
  const load = Module._load;
  let done = false;
  Module._load = function (request, ...rest) {
    const loaded = load.call(this, request, ...rest);
    if (!done && (request === "child_process" || request === "node:child_process")) {
      done = true;
      patch(loaded);
      Module.syncBuiltinESMExports();
    }
    return loaded;
  };
};
