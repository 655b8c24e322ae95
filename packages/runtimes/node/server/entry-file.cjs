"use strict";
// Loads the user's entry file of a handler or script, and says in the user's terms why it cannot be loaded.

const { readFileSync } = require("node:fs");
const Module = require("node:module");
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const { packageName } = require("./modules.cjs");
const { describe, origin, place } = require("./thrown.cjs");

/** Lets code outside of the dependencies' folder load what is installed there. */
function addDependencies(folder) {
  process.env.NODE_PATH = path.join(folder, "node_modules");
  Module._initPaths(); // What `require` looks at.
  const parentURL = pathToFileURL(path.join(folder, "index.mjs")).href;
  Module.registerHooks?.({
    resolve(specifier, context, next) {
      try {
        return next(specifier, context);
      } catch (error) {
        if (packageName(specifier) === null) throw error;
        return next(specifier, { ...context, parentURL });
      }
    },
  });
}

/** The place that Node puts before the stack of a SyntaxError: `file:line`, the source line, a caret. */
function syntaxPlace(error) {
  const [head = "", , caret = ""] = String(error.stack).split("\n");
  return place(`at ${head.replace("file://", "")}:${caret.indexOf("^") + 1}`);
}

/** The same for an ES module, whose SyntaxError tells no place: only Node's own check does, in a process of its own. */
function moduleSyntaxPlace(file) {
  const { spawnSync } = require("node:child_process");
  const { stderr } = spawnSync(process.execPath, ["--check", file], { encoding: "utf8", timeout: 5000 });
  return syntaxPlace({ stack: stderr ?? "" });
}

/** A path below the source folder, relative to it; undefined for any other. */
function sourcePath(file) {
  return file?.startsWith(origin.folder) ? file.slice(origin.folder.length) : undefined;
}

function loadFailure(error, file) {
  const described = describe(error, undefined);
  const { code, ...fields } = described;
  const { message } = fields;
  if (error instanceof SyntaxError) {
    const at = syntaxPlace(error) ?? moduleSyntaxPlace(file);
    return { ...fields, code: "SYNTAX_ERROR", file: sourcePath(at?.file), line: at?.line, column: at?.column, stack: undefined };
  }
  if (code !== "THREW") return described;
  if (error?.code === "MODULE_NOT_FOUND" || error?.code === "ERR_MODULE_NOT_FOUND") {
    const wanted = /Cannot find (?:module|package) '([^']+)'/.exec(message)?.[1] ?? "";
    if (packageName(wanted) !== null) return { ...fields, code: "MODULE_NOT_FOUND", module: packageName(wanted) };
  }
  return { ...fields, code: "LOAD_FAILED" };
}

/**
 * Loads the entry file and takes what `pick(exports)` finds in it. Resolves to `{ target, source, error }`: `source` is the file's text,
 * `error` a RuntimeError when there is no target; `hint` then says what the file should export.
 */
async function loadEntry({ directory, entrypoint, dependencies }, pick, hint) {
  const nothing = (error) => ({ target: null, source: "", error });
  const folder = path.resolve(directory);
  const file = path.resolve(folder, entrypoint);
  origin.folder = `${folder}/`;
  if (!file.startsWith(`${folder}/`)) {
    return nothing({ code: "LOAD_FAILED", message: `The entry file ${entrypoint} is outside of the function's folder.` });
  }
  if (dependencies !== undefined && dependencies !== folder && process.env.NODE_PATH === undefined) addDependencies(dependencies);
  Module.syncBuiltinESMExports(); // ES modules see what logs.cjs put into node:fs only after this.
  let found;
  let source;
  try {
    source = readFileSync(Module.createRequire(file).resolve(file), "utf8");
  } catch {
    return nothing({ code: "LOAD_FAILED", message: `The entry file ${entrypoint} does not exist.` });
  }
  try {
    try {
      found = Module.createRequire(file)(file);
    } catch (error) {
      // An ES module that awaits at its top level cannot be required.
      if (error?.code !== "ERR_REQUIRE_ASYNC_MODULE" && error?.code !== "ERR_REQUIRE_ESM") throw error;
      found = await import(pathToFileURL(file).href);
    }
  } catch (error) {
    return nothing(loadFailure(error, file));
  }
  const target = pick(found);
  if (target === null) return nothing({ code: "LOAD_FAILED", message: `${entrypoint} ${hint}` });
  return { target, source, error: null };
}

module.exports = { loadEntry };
