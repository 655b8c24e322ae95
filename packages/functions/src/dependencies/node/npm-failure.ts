/** The cause of a failed npm run in one sentence, from what it printed. */
export function npmFailure(log: string): string {
  const lines = log
    .slice(-8192)
    .split("\n")
    .map((line) => /^npm (?:error|ERR!) ?(.*)$/.exec(line)?.[1])
    .filter((line) => line !== undefined);
  const code = lines.map((line) => /^code (\S+)/.exec(line)?.[1]).find((found) => found !== undefined);
  const text = lines.join("\n");
  switch (code) {
    case "E404": {
      const wanted =
        /'((?:@[^/@']+\/)?[^@']+)@[^']*' (?:is not in|could not be found)/.exec(text)?.[1] ?? /GET \S+\/(\S+) - /.exec(text)?.[1];
      return `There is no package named "${decode(wanted ?? "?")}" in the registry.`;
    }
    case "ETARGET": {
      const wanted = /No matching version found for ((?:@[^/@]+\/)?[^@\s]+)@(.+?)\.?(?: with a date before .*)?$/m.exec(text);
      return wanted ? `No version of "${wanted[1]}" matches ${wanted[2]}.` : "No version matches what is asked for.";
    }
    case "EINTEGRITY":
      return "The registry served a package whose content does not have the hash that was locked.";
    case "ERESOLVE":
      return `The packages cannot be installed together: ${firstSentence(text, /peer(?:Optional)? \S+ from .*/)}.`;
    case "EUSAGE":
      return "package-lock.json does not fit package.json; run `npm install` to bring it up to date.";
    case "E401":
    case "ENEEDAUTH":
      return "The registry refused the credentials it was given.";
    case "E403":
      return "The registry refused to hand out a package.";
    case "EALLOWGIT":
    case "EALLOWREMOTE":
    case "EALLOWFILE":
    case "EALLOWDIRECTORY":
      return "A package depends on an address or a file; only packages of the registry can be installed.";
    case "EBADPLATFORM":
      return `A package is not made for this system: ${firstSentence(text, /Unsupported platform for .*/)}.`;
    case "EINVALIDTAGNAME":
    case "EINVALIDPACKAGENAME":
      return `npm does not accept a name: ${firstSentence(text, /Invalid .*/)}.`;
    case "ENOSPC":
      return "The disk is full.";
    case "ENOTFOUND":
    case "EAI_AGAIN":
    case "ECONNREFUSED":
    case "ECONNRESET":
    case "ETIMEDOUT":
    case "ERR_SOCKET_TIMEOUT":
    case "EPROTO":
    case "E502":
    case "E503":
    case "E504":
      return "The registry is not reachable.";
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "CERT_HAS_EXPIRED":
      return "The registry's certificate is not trusted; see the certificate settings of npm.";
    default: {
      const first = lines.find((line) => line !== "" && !line.startsWith("code ") && !line.startsWith("A complete log"));
      return first === undefined ? "npm ended without saying why." : `npm failed: ${first.slice(0, 200).replace(/\.$/, "")}.`;
    }
  }
}

function firstSentence(text: string, pattern: RegExp): string {
  return (pattern.exec(text)?.[0] ?? "see the log").slice(0, 200).replace(/\.$/, "");
}

function decode(name: string): string {
  return name.replace(/%2f/i, "/");
}
