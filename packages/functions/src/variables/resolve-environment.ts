import { TreadleError } from "@treadle/errors";

/** A variable or secret with its value. */
export interface Variable {
  readonly kind: "variable" | "secret";
  /** The error: a secret that cannot be opened. */
  readonly value: string | TreadleError;
}

/** What a program's environment is made of. */
export interface EnvironmentSources {
  readonly workspace: ReadonlyMap<string, Variable>;
  /** The function's own, which go before the workspace's; empty for inline functions, which share one process. */
  readonly function: ReadonlyMap<string, Variable>;
  /** Secrets of the workspace that are asked for by name. */
  readonly secrets: readonly string[];
}

/** An environment that is complete. */
export interface ResolvedEnvironment {
  readonly environment: Readonly<Record<string, string>>;
  /** Values of all secrets that went into it. */
  readonly secretValues: readonly string[];
}

/** What the kernel takes of one string of an environment, less room for the name. */
const LONGEST_VALUE = 120 * 1024;
const LONGEST_ENVIRONMENT = 1024 * 1024;
const REFERENCE = /\$\{(secrets|variables)\.([^}]*)\}/g;

/**
 * Puts the environment of a function together: the workspace's variables, the secrets it names, and its own variables and secrets, which win. `${secrets.NAME}` and
 * `${variables.NAME}` in values of variables become what they name. `who` is who needs it, for messages.
 * @throws UNRESOLVED_SECRET when something is named that is not there or leads to itself, SECRET_UNREADABLE, BAD_REQUEST when it is too large
 */
export function resolveEnvironment(sources: EnvironmentSources, who: string): ResolvedEnvironment {
  const secretValues = new Set<string>();
  const resolved = new Map<Variable, string>();
  const onTheWay = new Set<Variable>();

  const find = (name: string, kind?: Variable["kind"]): Variable | undefined =>
    [sources.function.get(name), sources.workspace.get(name)].find(
      (each) => each !== undefined && (kind === undefined || each.kind === kind),
    );

  const filledIn = (name: string, variable: Variable): string => {
    const { kind, value } = variable;
    if (typeof value !== "string") throw value;
    if (kind === "secret") {
      secretValues.add(value);
      return value;
    }
    const known = resolved.get(variable);
    if (known !== undefined) return known;
    if (onTheWay.has(variable))
      throw unresolved(who, `the variable ${name} refers to itself, by way of others or at once`, { variable: name });
    onTheWay.add(variable);
    let length = value.length;
    const text = value.replaceAll(REFERENCE, (_all, group: string, named: string) => {
      const isSecret = group === "secrets";
      const found = find(named, isSecret ? "secret" : "variable");
      if (found === undefined) {
        const what = isSecret ? "secret" : "variable";
        throw unresolved(
          who,
          `the variable ${name} refers to the ${what} ${JSON.stringify(named.slice(0, 128))}, which is not set`,
          {
            [what]: named.slice(0, 128),
            variable: name,
          },
        );
      }
      const part = filledIn(named, found);
      length += part.length;
      if (length > LONGEST_VALUE) throw tooLarge(`The variable ${name}`, LONGEST_VALUE, who);
      return part;
    });
    onTheWay.delete(variable);
    resolved.set(variable, text);
    return text;
  };

  const given = new Map<string, Variable>();
  for (const [name, variable] of sources.workspace) if (variable.kind === "variable") given.set(name, variable);
  for (const name of sources.secrets) {
    const secret = find(name, "secret");
    if (secret === undefined) throw unresolved(who, `it names the secret ${name}, which is not set`, { secret: name });
    given.set(name, secret);
  }
  for (const [name, variable] of sources.function) given.set(name, variable);
  const environment: Record<string, string> = {};
  let bytes = 0;
  for (const [name, variable] of [...given].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const value = filledIn(name, variable);
    bytes += name.length + Buffer.byteLength(value) + 2;
    if (bytes > LONGEST_ENVIRONMENT) throw tooLarge("The environment", LONGEST_ENVIRONMENT, who);
    environment[name] = value;
  }
  return { environment, secretValues: [...secretValues] };
}

function unresolved(who: string, why: string, details: object): TreadleError {
  return new TreadleError("UNRESOLVED_SECRET", `The environment of ${who} is not complete: ${why}.`, { details });
}

function tooLarge(what: string, limit: number, who: string): TreadleError {
  return new TreadleError("BAD_REQUEST", `${what} of ${who} is longer than ${limit} bytes once its references are filled in.`);
}
