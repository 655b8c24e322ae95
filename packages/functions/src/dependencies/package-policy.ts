import type { DependencySettings } from "./dependency-settings.ts";
import { installFailure } from "./install-failure.ts";

/** Throws INSTALL_FAILED when the operator's lists forbid a package. */
export type PackagePolicy = (name: string) => void;

/** Reads the operator's allow and deny lists. `normalize` brings patterns and names to the registry's own spelling. */
export function packagePolicy(
  settings: Pick<DependencySettings, "allow" | "deny">,
  normalize: (name: string) => string,
): PackagePolicy {
  const matcher = (patterns: readonly string[]) => {
    const expressions = patterns.map((pattern) => wildcard(normalize(pattern)));
    return (name: string) => expressions.some((expression) => expression.test(name));
  };
  const denied = matcher(settings.deny);
  const allowed = settings.allow === null ? () => true : matcher(settings.allow);
  return (name) => {
    const spelled = normalize(name);
    if (denied(spelled)) throw installFailure(`The operator's list denies the package "${name}".`, { package: name });
    if (!allowed(spelled))
      throw installFailure(`The package "${name}" is not on the operator's list of allowed packages.`, { package: name });
  };
}

/** Runs of stars are one star, so that a pattern cannot make matching slow. */
function wildcard(pattern: string): RegExp {
  const parts = pattern.split(/\*+/).map((part) => part.replace(/[\\^$.+?()[\]{}|/-]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`, "s");
}
