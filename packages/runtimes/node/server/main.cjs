"use strict";
// The runtime server. It lives in the process of user code, so it loads little, and takes what it needs of the
// language before user code can change it. `node main.cjs frames` serves CHANNEL.md on file descriptor 3,
// `node main.cjs http` serves Open Runtimes v5.

const { readFileSync } = require("node:fs");
const { compileFunction, constants } = require("node:vm");

const loaded = Object.create(null);

/** `require` among the server's own files: Node's own finds and checks what is known here, which costs a cold start 7 ms. */
function load(name) {
  if (!name.startsWith("./")) return require(name);
  const file = `${__dirname}/${name.slice(2)}`;
  if (loaded[file] === undefined) {
    const module = { exports: {} };
    loaded[file] = module;
    const parameters = ["module", "require", "__dirname"];
    const options = { filename: file, importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER };
    compileFunction(readFileSync(file, "utf8"), parameters, options)(module, load, __dirname);
  }
  return loaded[file].exports;
}

load(process.argv[2] === "http" ? "./http.cjs" : "./frames.cjs").serve();
