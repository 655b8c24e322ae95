/** Control characters but for tab and line feed, and those that turn the direction of writing. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is replaced.
const UNSAFE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/**
 * Text that user code wrote, as it can be printed on a terminal: characters that move the cursor, change colours or title, or
 * reorder the line become visible escapes (`\x1b`).
 */
export function terminalText(text: string): string {
  return text.replaceAll("\r\n", "\n").replace(UNSAFE, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16)}`;
  });
}

/** The same with every line after the first indented, so that no line can pass for one of ours. */
export function indentedText(text: string, indent: string): string {
  return terminalText(text).replaceAll("\n", `\n${indent}`);
}
