import { TreadleError } from "@treadle/errors";
import type { Mount } from "@treadle/sandbox";

/** A file only an installation gets to see, by the name it has there. */
export interface PrivateFile {
  readonly name: string;
  readonly content: string;
}

/** How an installation reaches the operator's registries. */
export interface RegistryAccess {
  /** Configuration and certificates, mounted read-only. They hold credentials: kept where only we can read them. */
  readonly files: readonly PrivateFile[];
  readonly environment: Readonly<Record<string, string>>;
  /** Local folders of packages, visible read-only. */
  readonly mounts: readonly Mount[];
  /** `host` or `host:port`, as in URLs. */
  readonly hosts: readonly string[];
  /** `host:port` of each registry: the only ways out of the sandbox. */
  readonly trusted: readonly string[];
  /** Credentials, never to be shown in a log. */
  readonly secrets: readonly string[];
}

/** `host`, or `host:port` where the port is not the scheme's own, of a registry's URL. Throws INVALID_SETTING. */
export function hostOf(url: string): string {
  return parse(url).host;
}

/** `host:port` of a registry's URL. Throws INVALID_SETTING. */
export function registryHost(url: string): string {
  const { hostname, port, protocol } = parse(url);
  return `${hostname}:${port || (protocol === "https:" ? "443" : "80")}`;
}

/** What the operator wrote as `host` or `host:port`, as `host:port`. */
export function withPort(host: string): string {
  return /:\d+$/.test(host) ? host : `${host}:443`;
}

function parse(url: string): URL {
  const parsed = URL.parse(url);
  if (parsed === null || (parsed.protocol !== "https:" && parsed.protocol !== "http:")) {
    throw new TreadleError(
      "INVALID_SETTING",
      `The address of a package registry is not an http or https URL: ${url.replace(/\/\/[^@/]*@/, "//***@")}`,
    );
  }
  return parsed;
}

/** What is shorter is a user's name, not a token. */
const SHORTEST_TOKEN = 6;

/** The password of an address, as it is written and as it is meant; and what stands in the place of the user's name when it may be a token. */
export function credentialsIn(url: string): string[] {
  const { username = "", password = "" } = URL.parse(url) ?? {};
  const tokens = username.length < SHORTEST_TOKEN ? [] : [username];
  return [...tokens, password].filter((part) => part !== "").flatMap((part) => [...new Set([part, decoded(part)])]);
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
