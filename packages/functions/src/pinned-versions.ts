import { haveSameEnvironment } from "./build-programs.ts";
import type { CallableFunction, LoadedWorkspace } from "./loaded-workspace.ts";
import type { Program } from "./program.ts";

const LARGEST_VERSION = 2_147_483_647;

/** A version that was called by its number or alias while another one is active. */
export interface Pinned {
  readonly target: CallableFunction;
}

interface Entry {
  readonly making: Promise<Pinned>;
  made: Pinned | null;
  lastUsedAt: number;
}

/** The pools of versions other than the active ones: made when they are first called, dropped when they are idle or something they are made of changed. */
export class PinnedVersions {
  readonly #idleMs: number;
  readonly #make: (loaded: LoadedWorkspace, functionName: string, version: number) => Promise<Pinned>;
  /** By workspace, then `name@version`. */
  readonly #workspaces = new Map<string, Map<string, Entry>>();

  /** @param idleMs longer than a call may wait for an instance */
  constructor(idleMs: number, make: (loaded: LoadedWorkspace, functionName: string, version: number) => Promise<Pinned>) {
    this.#idleMs = idleMs;
    this.#make = make;
  }

  /** @throws what making it throws, as a rejection */
  target(loaded: LoadedWorkspace, functionName: string, version: number): CallableFunction | Promise<CallableFunction> {
    const { name } = loaded.definition;
    let entries = this.#workspaces.get(name);
    if (entries === undefined) {
      entries = new Map();
      this.#workspaces.set(name, entries);
    }
    const key = `${functionName}@${version}`;
    let entry = entries.get(key);
    if (entry === undefined) {
      this.#dropIdle();
      this.#workspaces.set(name, entries);
      entry = { making: this.#make(loaded, functionName, version), made: null, lastUsedAt: performance.now() };
      const added = entry;
      entries.set(key, added);
      added.making.then(
        (made) => {
          added.made = made;
        },
        () => entries.get(key) === added && entries.delete(key),
      );
    }
    entry.lastUsedAt = performance.now();
    return entry.made?.target ?? entry.making.then(({ target }) => target);
  }

  /** Those of a workspace that are there now. */
  of(workspace: string): Pinned[] {
    return [...(this.#workspaces.get(workspace)?.values() ?? [])].flatMap(({ made }) => made ?? []);
  }

  /**
   * Drops those of a workspace that `programOf` gives another program than they have, or none, and those being made. Returns calls that waited for them, to go on
   * elsewhere.
   */
  renew(workspace: string, programOf: (pinned: Pinned) => Program | null, reason: string): WaitingCalls[] {
    const entries = this.#workspaces.get(workspace);
    if (entries === undefined) return [];
    const waiting: WaitingCalls[] = [];
    for (const [key, { made, making }] of entries) {
      const program = made === null ? null : programOf(made);
      if (made !== null && program !== null && isSameProgram(made.target.pool.program, program)) continue;
      entries.delete(key);
      if (made !== null) waiting.push({ reference: key, calls: made.target.pool.close(reason) });
      // Whoever asked for it still gets it; it ends when it is idle.
      else
        void making.then(
          ({ target }) => setTimeout(() => target.pool.close(reason), this.#idleMs).unref(),
          () => undefined,
        );
    }
    if (entries.size === 0) this.#workspaces.delete(workspace);
    return waiting;
  }

  #dropIdle(): void {
    const before = performance.now() - this.#idleMs;
    for (const [workspace, entries] of this.#workspaces) {
      for (const [key, { made, lastUsedAt }] of entries) {
        if (made === null || lastUsedAt > before || made.target.pool.instances.length > 0) continue;
        entries.delete(key);
        made.target.pool.close("it was idle");
      }
      if (entries.size === 0) this.#workspaces.delete(workspace);
    }
  }
}

/** Calls that waited for a version's instances when it was dropped. */
export interface WaitingCalls {
  /** `name@3` */
  readonly reference: string;
  readonly calls: ReturnType<CallableFunction["pool"]["close"]>;
}

/** The name and version or alias of `name@reference`; null: a name alone. */
export function splitReference(reference: string): { readonly name: string; readonly version: string } | null {
  const at = reference.lastIndexOf("@");
  return at <= 0 ? null : { name: reference.slice(0, at), version: reference.slice(at + 1) };
}

/** The version that a number or an alias means; null: no number and no alias there is. */
export function versionOf(loaded: LoadedWorkspace, functionName: string, reference: string): number | null {
  const alias = loaded.definition.aliases.get(functionName)?.get(reference);
  if (alias !== undefined) return alias;
  const version = /^[1-9]\d{0,9}$/.test(reference) ? Number(reference) : 0;
  return version > 0 && version <= LARGEST_VERSION ? version : null;
}

function isSameProgram(a: Program, b: Program): boolean {
  const plain = ({ limits, egress, maxInstances, concurrency, entrypoint, functions }: Program) =>
    JSON.stringify([limits, egress, maxInstances, concurrency, entrypoint, functions]);
  return haveSameEnvironment(a, b) && plain(a) === plain(b);
}
