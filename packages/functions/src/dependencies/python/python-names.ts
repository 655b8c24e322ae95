/** True for a name that a Python distribution can have (PEP 508). */
export function isPythonName(name: string): boolean {
  return name.length <= 200 && /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/.test(name);
}

/** The one spelling of a distribution's name that all others mean (PEP 503). Stars of patterns stay. */
export function normalizePythonName(name: string): string {
  return name.toLowerCase().replace(/[-_.]+/g, "-");
}
