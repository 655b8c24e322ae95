import type { RuntimeServer } from "./runtime-server.ts";

/** What a server is started with. Servers of equal settings are shared by the behaviours of a language. */
export interface Setting {
  /** Folder in `conformance/`. */
  readonly function?: "handler" | "old-form" | "script";
  /** Added to, or taken out of (null), the usual environment. */
  readonly environment?: Readonly<Record<string, string | null>>;
}

/** Where a server runs, and how a behaviour gets at one. */
export interface Subject {
  readonly place: "process" | "sandbox";
  /** Whether the language lists an action or feature as impossible. */
  can(feature: string): boolean;
  /** A server with this setting, shared with other behaviours. */
  server(setting?: Setting): Promise<RuntimeServer>;
  /** One that belongs to the caller, who disposes of it. `socket`: it listens on this path of the host. Only in a plain process. */
  own(setting?: Setting, socket?: string): Promise<RuntimeServer>;
}

/** One thing the contract promises, as a test. */
export interface Behaviour {
  readonly name: string;
  /** Actions and features (see ACTIONS.md) without which it cannot be seen. */
  readonly needs?: readonly string[];
  /** Contract or older form it belongs to: languages without are not asked. */
  readonly only?: "script" | "old-form";
  /** Where it can be seen; everywhere when absent. */
  readonly place?: "process";
  check(subject: Subject): Promise<void>;
}
