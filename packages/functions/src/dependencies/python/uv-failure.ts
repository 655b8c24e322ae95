/** The cause of a failed uv run in one sentence, from what it printed. `scripts`: whether source builds are allowed. */
export function uvFailure(log: string, scripts: boolean): string {
  // uv wraps its explanations to the width of a terminal and draws lines beside them. Only the end of the log explains its end.
  const text = log
    .slice(-8192)
    .replace(/[╰├│─▶]/g, "")
    .replace(/\s+/g, " ");
  const missing = /Because (\S+) was not found in the (?:package registry|provided package locations|cache)/.exec(text);
  if (missing) return `There is no package named "${missing[1]}" in the index.`;
  const unbuilt =
    /Wheels are required for `([^`]+)`|Because (?:all versions of )?(\S+?)(?:[=<>!~]\S*)? (?:has|have) no (?:usable )?wheels/.exec(
      text,
    );
  if (unbuilt || /building (?:from )?source is disabled|--no-build/i.test(text)) {
    const name = unbuilt?.[1] ?? unbuilt?.[2];
    const subject = name ? `"${name}"` : "A package";
    return scripts ? `${subject} has no build for this system.` : `${subject} needs a build step, and install scripts are off.`;
  }
  const version =
    /Because there (?:is|are) no versions? of (\S+?)((?:[=<>!~]=?|===)[^\s]*)? and you require/.exec(text) ??
    /[Oo]nly ((\S+?)[=<>!~].*?) (?:is|are) available/.exec(text);
  if (version) {
    const wanted = /you require (\S+?)((?:[=<>!~]=?|===)\S+?),? /.exec(text);
    return wanted
      ? `No version of "${wanted[1]}" matches ${wanted[2]}.`
      : `No version of "${version[1]}" matches what is asked for.`;
  }
  if (/[Hh]ash mismatch/.test(text)) return "The index served a file that does not have the hash that was locked.";
  if (/status code 40[13]|40[13] (?:Unauthorized|Forbidden)/i.test(text))
    return "The index refused the credentials it was given.";
  if (/invalid peer certificate|UnknownIssuer|certificate/i.test(text) && /error sending request|Failed to fetch/.test(text)) {
    return "The index's certificate is not trusted; see the certificate settings of uv and pip.";
  }
  if (
    /error sending request|Could not connect|operation timed out|dns error|Connection refused|status code 50[234]|Failed to fetch/i.test(
      text,
    )
  ) {
    return "The index is not reachable.";
  }
  if (/No space left on device/.test(text)) return "The disk is full.";
  if (/requires? Python|does not satisfy Python|Python requirement/i.test(text))
    return `The packages do not fit this Python: ${explanation(text)}.`;
  if (/No solution found/.test(text)) return `The packages cannot be installed together: ${explanation(text)}.`;
  const first = /(?:error|×):? (.+)/.exec(text)?.[1];
  return first === undefined ? "uv ended without saying why." : `uv failed: ${first.slice(0, 200).replace(/\.$/, "")}.`;
}

function explanation(text: string): string {
  return (/Because .+?(?=,? we can conclude|\.\s|$)/.exec(text)?.[0] ?? "see the log").slice(0, 300);
}
