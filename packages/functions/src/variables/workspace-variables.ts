import { TreadleError } from "@treadle/errors";
import type { Store, VariableRecord } from "@treadle/store";
import { shown } from "../names.ts";
import type { Variable } from "./resolve-environment.ts";
import type { SecretBox } from "./sealed-secret.ts";

/** Variables and secrets of one workspace, opened. Replaced whole by every change. */
export interface OpenVariables {
  readonly workspace: ReadonlyMap<string, Variable>;
  readonly functions: ReadonlyMap<string, ReadonlyMap<string, Variable>>;
}

/** A variable as it is shown: of a secret, not its value. Times in ms since 1970. */
export interface VariableView {
  readonly name: string;
  readonly value: string;
  readonly updatedAt: number;
}
export type SecretView = Omit<VariableView, "value">;

/** One change of one variable or secret; `value` null: it goes. */
export interface VariableChange {
  readonly function: string | null;
  readonly name: string;
  readonly kind: "variable" | "secret";
  readonly value: string | null;
}

/** The variables of the workspaces this process has loaded. */
export class WorkspaceVariables {
  readonly #store: Store;
  readonly #box: SecretBox;
  readonly #open = new Map<string, OpenVariables>();

  constructor(store: Store, box: SecretBox) {
    this.#store = store;
    this.#box = box;
  }

  /** Those of a workspace; none when there is no such workspace. */
  async of(workspace: string): Promise<OpenVariables> {
    const known = this.#open.get(workspace);
    if (known !== undefined) return known;
    const opened = this.#opened(workspace, await this.#store.variables.list(workspace));
    const meanwhile = this.#open.get(workspace);
    if (meanwhile !== undefined) return meanwhile;
    this.#open.set(workspace, opened);
    return opened;
  }

  /** The variables of a workspace or function, by name. */
  async variables(workspace: string, functionName: string | null): Promise<VariableView[]> {
    const records = await this.#records(workspace, functionName);
    return records.flatMap(({ name, value, sealed, updatedAt }) => (sealed === null ? [{ name, value, updatedAt }] : []));
  }

  /** The names of its secrets. */
  async secrets(workspace: string, functionName: string | null): Promise<SecretView[]> {
    const records = await this.#records(workspace, functionName);
    return records.flatMap(({ name, sealed, updatedAt }) => (sealed === null ? [] : [{ name, updatedAt }]));
  }

  /** What a change would make of those of a workspace. @throws UNKNOWN_VARIABLE, CONFLICT */
  after(workspace: string, before: OpenVariables, change: VariableChange): OpenVariables {
    const own = new Map(change.function === null ? before.workspace : before.functions.get(change.function));
    const present = own.get(change.name);
    if (change.value === null && present?.kind !== change.kind) throw unknownVariable(workspace, change);
    if (change.value !== null && present !== undefined && present.kind !== change.kind) {
      throw new TreadleError(
        "CONFLICT",
        `${change.name} is a ${present.kind}: remove it before you set a ${change.kind} of that name.`,
        { details: { workspace, function: change.function, name: change.name } },
      );
    }
    if (change.value === null) own.delete(change.name);
    else own.set(change.name, { kind: change.kind, value: change.value });
    return change.function === null
      ? { ...before, workspace: own }
      : { ...before, functions: new Map(before.functions).set(change.function, own) };
  }

  /**
   * Stores a change and takes `after` for what is open now. Durable when it resolves.
   * @throws UNKNOWN_WORKSPACE, UNKNOWN_FUNCTION, UNKNOWN_VARIABLE, CONFLICT, STORAGE_UNAVAILABLE
   */
  async store(workspace: string, change: VariableChange, after: OpenVariables): Promise<SecretView> {
    const { function: functionName, name, kind, value } = change;
    let updatedAt = Date.now();
    if (value !== null) {
      const content =
        kind === "secret"
          ? { value: null, sealed: this.#box.seal({ workspace, function: functionName, name }, value) }
          : { value, sealed: null };
      updatedAt = (await this.#store.variables.put(workspace, functionName, name, content)).updatedAt;
    } else if (!(await this.#store.variables.remove(workspace, functionName, name, kind))) {
      throw unknownVariable(workspace, change);
    }
    this.#open.set(workspace, after);
    return { name, updatedAt };
  }

  /** Forgets a deleted workspace. */
  forget(workspace: string): void {
    this.#open.delete(workspace);
  }

  /** Forgets those of deleted functions. */
  forgetFunctions(workspace: string, kept: ReadonlySet<string>): void {
    const open = this.#open.get(workspace);
    if (open === undefined) return;
    const functions = new Map([...open.functions].filter(([name]) => kept.has(name)));
    if (functions.size !== open.functions.size) this.#open.set(workspace, { ...open, functions });
  }

  async #records(workspace: string, functionName: string | null): Promise<VariableRecord[]> {
    return (await this.#store.variables.list(workspace)).filter((record) => record.function === functionName);
  }

  #opened(workspace: string, records: readonly VariableRecord[]): OpenVariables {
    const ofWorkspace = new Map<string, Variable>();
    const functions = new Map<string, Map<string, Variable>>();
    for (const record of records) {
      let into = ofWorkspace;
      if (record.function !== null) {
        into = functions.get(record.function) ?? new Map();
        functions.set(record.function, into);
      }
      into.set(record.name, this.#openedOne(workspace, record));
    }
    return { workspace: ofWorkspace, functions };
  }

  #openedOne(workspace: string, { function: functionName, name, value, sealed }: VariableRecord): Variable {
    if (sealed === null) return { kind: "variable", value };
    try {
      return { kind: "secret", value: this.#box.open({ workspace, function: functionName, name }, sealed) };
    } catch (error) {
      return { kind: "secret", value: error as TreadleError };
    }
  }
}

function unknownVariable(workspace: string, { function: functionName, name, kind }: VariableChange): TreadleError {
  return new TreadleError("UNKNOWN_VARIABLE", `${functionName ?? workspace} has no ${kind} ${shown(name)}.`, {
    details: { workspace, function: functionName, name: name.slice(0, 128) },
  });
}
