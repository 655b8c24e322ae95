"use strict";
// Reads JavaScript far enough to tell code from strings, comments, templates and regular expressions.

/** After these words a slash starts a regular expression. */
const BEFORE_REGEX = new Set("return typeof instanceof in of new delete void throw case do else yield await".split(" "));
/** After the closing parenthesis of these a statement starts, so a slash starts a regular expression. */
const CONDITION = new Set(["if", "while", "for", "with"]);
const WORD = /[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*/uy;
const NUMBER = /\.?\d[\w.]*/y;
const REGEX = /\/(?:[^\\/[\n\r]|\\.|\[(?:[^\]\\\n\r]|\\.)*\])+\/[a-z]*/y;
const LITERAL = /(['"`])((?:(?!\1)[^\\\n\r$]|\\.)*)\1/y;
const OPEN_CALL = /(?:\s|\/\*[\s\S]*?\*\/|\/\/[^\n]*\n)*(?:\?\.)?\((?:\s|\/\*[\s\S]*?\*\/|\/\/[^\n]*\n)*/y;

function match(pattern, code, at) {
  pattern.lastIndex = at;
  return pattern.exec(code);
}

/** The string a call `f("literal")` at `at` (behind `f`) passes, or undefined. */
function literalArgument(code, at) {
  const open = match(OPEN_CALL, code, at);
  if (open === null) return undefined;
  const literal = match(LITERAL, code, at + open[0].length);
  if (literal === null) return undefined;
  try {
    return literal[2].includes("\\") ? JSON.parse(`"${literal[2].replaceAll("\\'", "'")}"`) : literal[2];
  } catch {
    return literal[2];
  }
}

/**
 * What a function body (or module) says: the literals it passes to `require` and `import`, and those of static
 * imports; and the offset of the first closing bracket that nothing opened (-1: none).
 */
function scan(code) {
  const specifiers = new Set();
  const brackets = [];
  let unopened = -1;
  let regexAllowed = true;
  let word = "";
  let previous = "";
  let at = 0;

  /** Skips template text from behind its start, or from behind an expression's closing brace. */
  function template() {
    while (at < code.length) {
      const c = code[at++];
      if (c === "\\") at++;
      else if (c === "`") {
        regexAllowed = false;
        return;
      } else if (c === "$" && code[at] === "{") {
        at++;
        brackets.push("${");
        regexAllowed = true;
        return;
      }
    }
  }

  while (at < code.length) {
    const c = code[at];
    const next = code[at + 1];
    if (c === " " || c === "\t" || c === "\n" || c === "\r") {
      at++;
      continue;
    }
    if (c === "/" && next === "/") {
      const end = code.indexOf("\n", at);
      at = end < 0 ? code.length : end;
      continue;
    }
    if (c === "/" && next === "*") {
      const end = code.indexOf("*/", at + 2);
      at = end < 0 ? code.length : end + 2;
      continue;
    }
    const lastWord = word;
    word = "";
    if (c === '"' || c === "'") {
      const start = at;
      at++;
      while (at < code.length && code[at] !== c && code[at] !== "\n") at += code[at] === "\\" ? 2 : 1;
      at++;
      if (lastWord === "from" || lastWord === "import") specifiers.add(code.slice(start + 1, at - 1));
      regexAllowed = false;
      previous = c;
      continue;
    }
    if (c === "`") {
      at++;
      template();
      previous = c;
      continue;
    }
    if (c === "/" && regexAllowed) {
      const regex = match(REGEX, code, at);
      if (regex !== null) {
        at += regex[0].length;
        regexAllowed = false;
        previous = c;
        continue;
      }
    }
    const name = match(WORD, code, at);
    if (name !== null) {
      at += name[0].length;
      word = name[0];
      if ((word === "require" || word === "import") && (previous !== "." || word === "require")) {
        const argument = literalArgument(code, at);
        if (argument !== undefined) specifiers.add(argument);
      }
      if (word === "resolve" && lastWord === "" && previous === ".") {
        const argument = literalArgument(code, at);
        if (argument !== undefined && /require\s*\.\s*resolve$/.test(code.slice(0, at))) specifiers.add(argument);
      }
      regexAllowed = previous !== "." && BEFORE_REGEX.has(word);
      previous = "word";
      continue;
    }
    const number = match(NUMBER, code, at);
    if (number !== null) {
      at += number[0].length;
      regexAllowed = false;
      previous = "0";
      continue;
    }
    at++;
    regexAllowed = true;
    previous = c;
    if (c === "(") brackets.push(CONDITION.has(lastWord) ? "if(" : "(");
    else if (c === "[" || c === "{") brackets.push(c);
    else if (c === ")" || c === "]" || c === "}") {
      const opened = brackets.pop();
      if (opened === undefined && unopened < 0) unopened = at - 1;
      if (c === "}" && opened === "${") template();
      else regexAllowed = c === "}" || opened === "if(";
    } else if ((c === "+" || c === "-") && next === c) {
      // x++ / 2 divides; ++/a/ is not sensible code.
      at++;
      regexAllowed = false;
    }
  }
  return { specifiers: [...specifiers], unopened };
}

/** Line and column, from 1, of an offset. */
function position(code, offset) {
  const before = code.slice(0, offset);
  const line = before.split("\n").length;
  return { line, column: offset - before.lastIndexOf("\n") };
}

module.exports = { position, scan };
