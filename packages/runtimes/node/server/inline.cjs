"use strict";
// The inline contract: each function is a body whose parameters are variables, siblings are in scope by name.

const vm = require("node:vm");
const { current } = require("./executions.cjs");
const { createLoader, packagesOf } = require("./modules.cjs");
const ownMethods = require("./own-methods.cjs");
const { position, scan } = require("./scan.cjs");
const { mark, origin } = require("./thrown.cjs");

const AsyncFunction = (async () => {}).constructor;
const { parse, stringify } = JSON;
const hasOwn = Object.hasOwn;
const IDENTIFIER = /^[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*$/u;
/** Names that cannot be variables of a function body, or that everybody expects to mean something else. */
const RESERVED = new Set(
  (
    "arguments await break case catch class const continue debugger default delete do else enum eval export extends false finally for " +
    "function if import in instanceof let new null return super switch this throw true try typeof undefined NaN Infinity var void " +
    "while with yield"
  ).split(" "),
);
/** What every body has in scope beside its parameters and siblings. */
const OFFERED = ["require", "functions", "cache"];
/** In scope too, unless a sibling has the name. */
const FILE_FUNCTIONS = {
  saveFile: (...args) => require("./files.cjs").saveFile(current(), args),
  openFile: (id) => require("./files.cjs").openFile(current(), id),
};

function isVariable(name) {
  return IDENTIFIER.test(name) && !RESERVED.has(name) && !(name in Object.prototype);
}

/** The place of a SyntaxError of vm in the body, from the source line and the caret that Node puts before the stack. */
function syntaxPosition(error, fileName, code) {
  const lines = code.split("\n");
  const [head, , caret] = String(error.stack).split("\n");
  const at = head.startsWith(`${fileName}:`) ? Number(head.slice(fileName.length + 1)) : 0;
  if (!(at >= 1)) return { line: 1, column: 1 };
  // Past the end: something was left open, and the wrapper's own end was met.
  if (at > lines.length) return { line: lines.length, column: lines[lines.length - 1].length + 1 };
  return { line: at, column: Math.max(0, caret?.indexOf("^") ?? 0) + 1 };
}

function syntaxError(name, message, place) {
  const where = `${name}.js:${place.line}:${place.column}`;
  return {
    code: "SYNTAX_ERROR",
    message,
    name: "SyntaxError",
    stack: `SyntaxError: ${message}\n    at ${where}`,
    function: name,
    ...place,
  };
}

/**
 * Compiles the functions of a workspace. Returns the callable ones by name, `{ run(args) }`, with those that do not
 * parse as `{ error }`; and what LOADED reports. No user code runs here.
 */
function load({ functions: sources, dependencies, allowedModules }) {
  const names = Object.keys(sources);
  const compiled = ownMethods(new Map(), "get");
  const errors = Object.create(null);
  const imports = Object.create(null);
  const loader = createLoader(dependencies, allowedModules);
  const cache = {};
  const functions = Object.create(null);
  origin.files = ownMethods(new Map(), "get", "has");

  for (const name of names) {
    Object.defineProperty(functions, name, {
      enumerable: true,
      value: {
        // Named like the function, for stacks.
        [name]: async (args) => {
          const target = compiled.get(name);
          if (target.error !== null) throw asError(target.error);
          return target.run(args === undefined || args === null ? {} : args);
        },
      }[name],
    });
  }
  Object.freeze(functions);
  const siblings = names.filter((name) => isVariable(name) && !OFFERED.includes(name) && name !== "parameters");

  for (const name of names) {
    const { code, parameters, defaults } = sources[name];
    origin.files.set(`${name}.js`, name);
    const { specifiers, unopened } = scan(code);
    const packages = packagesOf(specifiers);
    if (packages.length > 0) imports[name] = packages;
    try {
      compiled.set(name, { error: null, run: compile(name, code, parameters, defaults, unopened) });
    } catch (error) {
      errors[name] = error;
      compiled.set(name, { error, run: null });
    }
  }
  return { functions: compiled, report: { errors, imports } };

  /** The function `(args) => promise`; throws the RuntimeError of a body that does not parse. */
  function compile(name, code, parameters, defaults, unopened) {
    const variables = [...new Set(parameters)].filter((parameter) => isVariable(parameter) && parameter !== "parameters");
    const scope = [...variables, "parameters"];
    const fileFunctions = Object.keys(FILE_FUNCTIONS).filter((offered) => code.includes(offered) && !siblings.includes(offered));
    const inScope = siblings.filter((sibling) => code.includes(sibling) || /\b(eval|Function)\b/.test(code));
    const fileName = `${name}.js`;
    let body;
    try {
      // The body starts on a line of its own, so that its lines and columns are the user's.
      body = vm.compileFunction(
        `return { [${stringify(name)}]: async function (${scope.join(", ")}) {\n${code}\n}}[${stringify(name)}]`,
        [...OFFERED, ...fileFunctions, ...inScope],
        {
          filename: fileName,
          lineOffset: -1,
          importModuleDynamically: (specifier, _, attributes) => loader.load(specifier, attributes),
        },
      )(
        loader.require,
        functions,
        cache,
        ...fileFunctions.map((offered) => FILE_FUNCTIONS[offered]),
        ...inScope.map((sibling) => functions[sibling]),
      );
    } catch (error) {
      const found = syntaxPosition(error, fileName, code);
      const bracket = unopened < 0 ? found : position(code, unopened);
      // A bracket too many is the cause, also where the parser trips only later.
      const isCause = bracket.line < found.line || (bracket.line === found.line && bracket.column < found.column);
      if (isCause) throw syntaxError(name, `Unexpected token '${code[unopened]}'`, bracket);
      throw syntaxError(name, String(error.message), found);
    }
    try {
      // A body that closes the wrapper and opens another parses above, but is no body: this constructor checks it alone.
      new AsyncFunction(...scope, code);
    } catch (error) {
      const message = unopened < 0 ? String(error.message) : `Unexpected token '${code[unopened]}'`;
      throw syntaxError(name, message, position(code, Math.max(0, unopened)));
    }
    return caller(body, variables, defaults);
  }
}

/** `(args) => body(args.a, args.b, ..., args)`, with defaults for what is not given. */
function caller(body, variables, defaults) {
  const withDefaults = Object.keys(defaults ?? {});
  const fallback = variables.map((name) => (hasOwn(defaults ?? {}, name) ? stringify(defaults[name]) : undefined));
  if (withDefaults.length === 0) {
    const [first, second, third] = variables;
    if (variables.length === 0) return (args) => body(args);
    if (variables.length === 1) return (args) => body(args[first], args);
    if (variables.length === 2) return (args) => body(args[first], args[second], args);
    if (variables.length === 3) return (args) => body(args[first], args[second], args[third], args);
  }
  return (given) => {
    const args = typeof given === "object" && withDefaults.length > 0 ? complete(given, withDefaults, defaults) : given;
    const values = new Array(variables.length + 1);
    for (let i = 0; i < variables.length; i++) {
      const value = args[variables[i]];
      values[i] = value === undefined && fallback[i] !== undefined ? parse(fallback[i]) : value;
    }
    values[variables.length] = args;
    return apply(body, undefined, values);
  };
}

const apply = Reflect.apply;

/** The arguments with the defaults of those not given; the caller's object is left as it is. */
function complete(given, names, defaults) {
  let args = given;
  for (const name of names) {
    if (hasOwn(given, name) && given[name] !== undefined) continue;
    if (args === given) args = { ...given };
    Object.defineProperty(args, name, {
      value: parse(stringify(defaults[name])),
      configurable: true,
      enumerable: true,
      writable: true,
    });
  }
  return args;
}

/** The error a caller of a broken sibling gets. */
function asError(fields) {
  const error = new SyntaxError(`${fields.message} (${fields.function}.js:${fields.line}:${fields.column})`);
  return mark(error, fields);
}

module.exports = { asError, load };
