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
    const spelled = patterns.map(normalize);
    return (name: string) => spelled.some((pattern) => fits(pattern, name));
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

/** Whether a name fits a pattern in which `*` stands for any text; in one pass, whatever the pattern. */
function fits(pattern: string, name: string): boolean {
  const [first = "", ...rest] = pattern.split("*");
  const last = rest.pop();
  if (last === undefined) return name === first;
  if (!name.startsWith(first)) return false;
  let position = first.length;
  for (const part of rest) {
    const found = name.indexOf(part, position);
    if (found < 0) return false;
    position = found + part.length;
  }
  return name.length - last.length >= position && name.endsWith(last);
}
