import { TreadleError } from "@treadle/errors";
import { type EgressPolicy, parseAuthority } from "@treadle/sandbox";

const REF = /^[A-Za-z0-9_][A-Za-z0-9_./+-]{0,249}$/;
const PATH = /^(?:\/[A-Za-z0-9_.~+%-]+)+\/?$/;

/** A repository that may be fetched, and the way there. */
export interface GitAddress {
  readonly url: string;
  /** What to fetch: `HEAD`, a branch, a tag, a commit. */
  readonly ref: string;
  readonly policy: EgressPolicy;
}

/**
 * Holds what users name to the hosts that the operator allows: https, the usual port unless the operator names another, no user names or passwords.
 * @throws SOURCE_UNAVAILABLE
 */
export function gitAddress(
  url: string,
  ref: string | undefined,
  settings: { readonly gitHosts: readonly string[]; readonly gitTrusted: readonly string[] },
): GitAddress {
  const parsed = URL.parse(url);
  if (
    parsed === null ||
    !/^https?:$/.test(parsed.protocol) ||
    !PATH.test(parsed.pathname) ||
    parsed.search + parsed.hash !== ""
  ) {
    throw unavailable("A repository is named by an address such as https://github.com/owner/name.");
  }
  if (parsed.username + parsed.password !== "") throw unavailable("An address with a user name or password is not taken.");
  if (ref !== undefined && (!REF.test(ref) || ref.includes("..") || ref.endsWith(".lock"))) {
    throw unavailable("The reference is no branch, tag or commit.");
  }
  const secure = parsed.protocol === "https:";
  const place = `${parsed.hostname}:${parsed.port || (secure ? "443" : "80")}`;
  const isTrusted = settings.gitTrusted.some((entry) => samePlace(entry, place));
  if (!isTrusted && (!secure || !settings.gitHosts.some((entry) => samePlace(entry, place)))) {
    const sentence = secure
      ? `The host ${parsed.host} is not among those that sources may be fetched from: ${settings.gitHosts.join(", ") || "none"}.`
      : "Repositories are fetched over https only.";
    throw unavailable(sentence);
  }
  return {
    url: parsed.href,
    ref: ref ?? "HEAD",
    policy: isTrusted ? { allow: [], trusted: [place] } : { allow: [place], trusted: [] },
  };
}

export function unavailable(message: string, cause?: unknown): TreadleError {
  return new TreadleError("SOURCE_UNAVAILABLE", message, cause === undefined ? {} : { cause });
}

function samePlace(entry: string, place: string): boolean {
  const [one, other] = [parseAuthority(entry, 443), parseAuthority(place)];
  return one !== null && other !== null && one.host === other.host && one.port === other.port;
}
