type Sections = Readonly<Record<string, unknown>> & {
  readonly dependencies?: object;
  readonly devDependencies?: object;
};

/**
 * The manifests of a source with its devDependencies among its dependencies, in the lock as well: npm then installs all of them, at the versions that the lock has.
 * Null where there are none, or where a manifest cannot be read, which npm is to complain about.
 */
export function withDevelopmentDependencies(files: Readonly<Record<string, string>>): Record<string, string> | null {
  const { "package.json": manifestText, "package-lock.json": lockText, ...others } = files;
  try {
    const manifest = JSON.parse(manifestText ?? "") as Sections;
    if (Object.keys(manifest.devDependencies ?? {}).length === 0) return null;
    const merged = { ...others, "package.json": JSON.stringify(promoted(manifest)) };
    if (lockText === undefined) return merged;
    const lock = JSON.parse(lockText) as { packages: Record<string, Sections> };
    const packages = Object.entries(lock.packages).map(([path, { dev: _dev, devOptional, ...entry }]) => [
      path,
      // What was optional, or needed for development, is still optional.
      path === "" ? promoted(entry) : devOptional === true ? { ...entry, optional: true } : entry,
    ]);
    return { ...merged, "package-lock.json": JSON.stringify({ ...lock, packages: Object.fromEntries(packages) }) };
  } catch {
    return null;
  }
}

function promoted({ devDependencies, dependencies, ...rest }: Sections): Sections {
  return { ...rest, dependencies: { ...devDependencies, ...dependencies } };
}
