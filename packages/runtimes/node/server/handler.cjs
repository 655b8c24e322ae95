"use strict";
// The handler contract: a file exports one function, which gets `{ req, res, log, error, saveFile, openFile }` and returns a response; or
// the older form with two parameters, `(req, res)`, which answers by calling `res.send` or `res.json`.

const Module = require("node:module");
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const { createRequest, enforcedHeaders, visibleHeaders } = require("./handler-request.cjs");
const { finish, response } = require("./handler-response.cjs");
const logs = require("./logs.cjs");
const { packageName } = require("./modules.cjs");
const { cleanText, describe, origin, place } = require("./thrown.cjs");

const { stringify } = JSON;
const NativePromise = Promise;

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

/** The function a module exports: itself, its default or its `main`. */
function exported(found) {
  for (const candidate of [found, found?.default, found?.default?.default, found?.main, found?.default?.main]) {
    if (typeof candidate === "function") return candidate;
  }
  return null;
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
 * Loads the entry file. Resolves to `{ run, error }`: `run(execution, head, body)` answers a request, `error` is a
 * RuntimeError when there is nothing to run.
 */
async function load({ directory, entrypoint, dependencies }) {
  const folder = path.resolve(directory);
  const file = path.resolve(folder, entrypoint);
  origin.folder = `${folder}/`;
  if (!file.startsWith(`${folder}/`)) {
    return {
      run: null,
      error: { code: "LOAD_FAILED", message: `The entry file ${entrypoint} is outside of the function's folder.` },
    };
  }
  if (dependencies !== undefined && dependencies !== folder && process.env.NODE_PATH === undefined) addDependencies(dependencies);
  Module.syncBuiltinESMExports(); // ES modules see what logs.cjs put into node:fs only after this.
  let found;
  try {
    Module.createRequire(file).resolve(file);
  } catch {
    return { run: null, error: { code: "LOAD_FAILED", message: `The entry file ${entrypoint} does not exist.` } };
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
    return { run: null, error: loadFailure(error, file) };
  }
  const target = exported(found);
  if (target === null) {
    return {
      run: null,
      error: {
        code: "LOAD_FAILED",
        message: `${entrypoint} exports no function. Use module.exports = async (context) => { ... } or export default.`,
      },
    };
  }
  const enforced = enforcedHeaders(process.env.OPEN_RUNTIMES_HEADERS);
  return { run: (execution, head, body) => run(target, enforced, execution, head, body), error: null };
}

/** Answers one request: resolves to `{ statusCode, headers, body }`, rejects with what user code threw. */
async function run(target, enforced, execution, head, body) {
  const req = createRequest(head.method, head.url, visibleHeaders(head.headers, enforced), body);
  if (target.length === 2) return finish(await runOlderForm(target, req));
  const context = {
    req,
    res: { ...response },
    log: (...args) => logs.append(execution, logs.INFO, cleanText(message(args))),
    error: (...args) => logs.append(execution, logs.ERROR, cleanText(message(args))),
    saveFile: (...args) => require("./files.cjs").saveFile(execution, args),
    openFile: (id) => require("./files.cjs").openFile(execution, id),
  };
  return finish(await target(context));
}

/** The (req, res) form: the first call of res answers, also when it comes after the function returned. */
function runOlderForm(target, req) {
  return new NativePromise((resolve, reject) => {
    const res = { ...response };
    for (const method of Object.keys(response)) {
      res[method] = (...args) => {
        const answer = response[method](...args);
        resolve(answer);
        return answer;
      };
    }
    (async () => {
      const returned = await target(req, res);
      if (returned !== undefined && returned !== null) resolve(returned);
    })().catch(reject);
  });
}

/** Arguments of context.log as one line of text. */
function message(args) {
  return args
    .map((value) => {
      if (typeof value !== "object" || value === null) return String(value);
      if (value instanceof Error) return logs.text([value]);
      try {
        return stringify(value) ?? logs.text([value]);
      } catch {
        return logs.text([value]);
      }
    })
    .join(" ");
}

module.exports = { load };
