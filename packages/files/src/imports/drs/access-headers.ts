/** Headers that say how the bytes travel; those are ours to set. */
const OURS =
  /^(host|connection|keep-alive|content-length|transfer-encoding|te|trailer|upgrade|expect|range|if-range|accept-encoding|proxy-.*)$/;

/** The headers of an AccessURL (`Name: value` each) as a record; what is malformed or not the server's to set is left out. */
export function accessHeaders(lines: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const line of lines.slice(0, 32)) {
    const [, name = "", value = ""] =
      /^([!#$%&'*+.^_`|~0-9a-z-]{1,100})[ \t]*:[ \t]*([\t\x20-\x7e\x80-\xff]{0,8000})$/i.exec(line) ?? [];
    if (name !== "" && !OURS.test(name.toLowerCase())) headers[name.toLowerCase()] = value.trim();
  }
  return headers;
}
