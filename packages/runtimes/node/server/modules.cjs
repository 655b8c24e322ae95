"use strict";
// What inline code may load: allowed built-in modules and installed packages.

const { createRequire, isBuiltin, syncBuiltinESMExports } = require("node:module");
const vm = require("node:vm");
const { mark } = require("./thrown.cjs");

const BuiltinError = Error;

/** `node:fs/promises` → `fs`; `@a/b/c` → `@a/b`; `a/b` → `a`; null for paths and addresses. */
function packageName(specifier) {
  if (/^(\.{0,2}\/|\.{1,2}$|#|[a-z]+:)/i.test(specifier) || specifier === "") return null;
  const parts = specifier.split("/");
  return specifier.startsWith("@") ? (parts.length > 1 ? `${parts[0]}/${parts[1]}` : null) : parts[0];
}

/** Names of packages among the specifiers that are not built in, sorted. */
function packagesOf(specifiers) {
  const names = new Set();
  for (const specifier of specifiers) {
    if (isBuiltin(specifier)) continue;
    const name = packageName(specifier);
    if (name !== null) names.add(name);
  }
  return [...names].sort();
}

function failure(code, module, message) {
  const error = new BuiltinError(message);
  error.code = code;
  error.module = module;
  return mark(error, { code, module });
}

/** Makes `require` and `import()` of inline code. */
function createLoader(dependencies, allowedModules) {
  const allowed = allowedModules === null ? null : new Set(allowedModules.map((name) => name.replace(/^node:/, "")));
  const base = `${dependencies ?? "/nonexistent"}/inline.cjs`;
  let nativeRequire = null;
  let nativeImport = null;

  /** Throws unless the specifier may be loaded. */
  function check(specifier) {
    if (typeof specifier !== "string" || specifier === "")
      throw new TypeError(`A module's name must be a string that is not empty, got ${typeof specifier}.`);
    if (isBuiltin(specifier)) {
      const name = specifier.replace(/^node:/, "");
      if (allowed !== null && !allowed.has(name) && !allowed.has(name.split("/")[0])) {
        throw failure(
          "IMPORT_DENIED",
          name,
          `The built-in module "${name}" is not allowed here. Allowed: ${[...allowed].join(", ") || "none"}.`,
        );
      }
      return;
    }
    const name = packageName(specifier);
    if (name === null) {
      throw failure(
        "MODULE_NOT_FOUND",
        specifier,
        `Cannot load "${specifier}": a function loads built-in modules and installed packages by name.`,
      );
    }
    if (dependencies === undefined) throw missing(name);
  }

  function missing(name) {
    return failure("MODULE_NOT_FOUND", name, `The package "${name}" is not installed. Add it to the workspace's dependencies.`);
  }

  /** Turns the loader's own "not found" for this package into ours; leaves all other errors as they are. */
  function translate(error, specifier) {
    const name = packageName(specifier);
    if (error?.code !== "MODULE_NOT_FOUND" && error?.code !== "ERR_MODULE_NOT_FOUND") return error;
    const found = /Cannot find (?:module|package) '([^']+)'/.exec(error.message);
    const wanted = found === null ? specifier : found[1];
    if (wanted === specifier || wanted === name) return missing(name);
    return mark(error, { code: "MODULE_NOT_FOUND", module: packageName(wanted) ?? wanted });
  }

  function require(specifier) {
    check(specifier);
    nativeRequire ??= createRequire(base);
    try {
      return nativeRequire(specifier);
    } catch (error) {
      throw translate(error, specifier);
    }
  }
  require.resolve = (specifier) => {
    check(specifier);
    nativeRequire ??= createRequire(base);
    try {
      return nativeRequire.resolve(specifier);
    } catch (error) {
      throw translate(error, specifier);
    }
  };

  async function load(specifier, attributes) {
    check(specifier);
    // ES modules see the functions of node:fs that logs.cjs put there only after this.
    if (nativeImport === null) syncBuiltinESMExports();
    nativeImport ??= vm.compileFunction("return import(specifier, { with: attributes })", ["specifier", "attributes"], {
      filename: base,
      importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    });
    try {
      return await nativeImport(specifier, attributes);
    } catch (error) {
      throw translate(error, specifier);
    }
  }

  return { require, load };
}

module.exports = { createLoader, packageName, packagesOf };
