import { TreadleError } from "@treadle/errors";
import { shown } from "../names.ts";

const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
/** What steers the runtime server, its interpreter or its dynamic linker rather than user code. */
const RESERVED_PREFIX = /^(TREADLE_|OPEN_RUNTIMES_|LD_|DYLD_|BASH_FUNC_)/i;
const RESERVED = new Set(
  [
    ["PATH", "HOME", "PORT", "SHELL", "IFS", "ENV", "BASH_ENV", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"],
    ["NODE_OPTIONS", "NODE_PATH", "NODE_EXTRA_CA_CERTS", "BUN_OPTIONS", "DENO_DIR", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP"],
    ["RUBYOPT", "RUBYLIB", "PERL5OPT", "PERL5LIB", "PHPRC", "PHP_INI_SCAN_DIR", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"],
    ["_JAVA_OPTIONS", "CLASSPATH", "DOTNET_STARTUP_HOOKS", "MONO_PATH", "LUA_INIT", "GCONV_PATH", "LOCPATH", "__PROTO__"],
  ].flat(),
);
const LONGEST_VALUE = 64 * 1024;

/** Whether something can be the name of a variable or secret. */
export function isVariableName(name: string): boolean {
  return NAME.test(name) && !RESERVED_PREFIX.test(name) && !RESERVED.has(name.toUpperCase());
}

/** @throws BAD_REQUEST */
export function checkVariableName(name: string): void {
  if (!NAME.test(name)) {
    throw new TreadleError(
      "BAD_REQUEST",
      `${shown(name)} cannot be the name of a variable: use 1 to 128 letters, digits or "_", not starting with a digit.`,
      { details: { field: "name" } },
    );
  }
  if (!isVariableName(name)) {
    throw new TreadleError("BAD_REQUEST", `${name} is reserved: it steers the runtime, not the function. Take another name.`, {
      details: { field: "name" },
    });
  }
}

/** @throws BAD_REQUEST, which says nothing of the value itself */
export function checkVariableValue(name: string, value: string): void {
  const fault =
    Buffer.byteLength(value) > LONGEST_VALUE
      ? `longer than ${LONGEST_VALUE} bytes`
      : value.includes("\0")
        ? "with a NUL character"
        : value.isWellFormed()
          ? null
          : "that is not well-formed Unicode";
  if (fault !== null)
    throw new TreadleError("BAD_REQUEST", `The value of ${name} is ${fault.startsWith("longer") ? fault : `a text ${fault}`}.`, {
      details: { field: "value" },
    });
}
