// One or two parts as npm's validate-npm-package-name has them; upper case is legal in old packages.
const NAME = /^(?:@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*$/i;

/** True for a name that a registry package can have; nothing like `../x`, which npm itself takes for a folder. */
export function isNpmName(name: string): boolean {
  return name.length <= 214 && NAME.test(name) && !/^(?:node_modules|favicon\.ico)$/i.test(name);
}

/**
 * True for a version, range or tag: what a registry resolves. npm reads everything with a colon, slash, at or leading dot, and
 * everything named like an archive, as an address (npm-package-arg).
 */
export function isRegistrySpecifier(specifier: string): boolean {
  return specifier.length <= 256 && /^(?!\.)[\w\s.*^~<>=|+-]*$/.test(specifier) && !/\.(?:tgz|tar|tar\.gz)\s*$/i.test(specifier);
}
