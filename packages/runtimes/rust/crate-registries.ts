import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** How a build reaches the operator's crates. */
export interface CrateRegistries {
  /** Cargo's configuration for the build; null: its defaults. */
  readonly configuration: string | null;
  /** `host:port` of indexes and downloads. */
  readonly registries: readonly string[];
}

const CRATES_IO = ["index.crates.io:443", "static.crates.io:443"];

/**
 * What the operator's cargo would ask: the tables `[source...]` and `[registries...]` of `$CARGO_HOME/config.toml`; nothing else of that file matters to a build. Downloads
 * of a registry are taken to come from the host of its index; others are named in `TREADLE_CARGO_HOSTS` (`host` or `host:port`, separated by commas).
 */
export function crateRegistries(environment: Readonly<Record<string, string | undefined>>): CrateRegistries {
  const tables = sourceTables(readConfiguration(environment));
  const indexes = [...tables.matchAll(/^\s*(?:registry|index)\s*=\s*"(?:sparse\+)?(https?:\/\/[^"]+)"/gm)].flatMap(
    ([, address]) => {
      const url = URL.parse(address ?? "");
      return url === null ? [] : [`${url.hostname}:${url.port || (url.protocol === "https:" ? "443" : "80")}`];
    },
  );
  const named = (environment.TREADLE_CARGO_HOSTS ?? "")
    .split(",")
    .map((host) => host.trim())
    .filter((host) => host !== "")
    .map((host) => (/:\d+$/.test(host) ? host : `${host}:443`));
  const isReplaced = /^\s*replace-with\s*=/m.test(tables);
  return {
    configuration: tables === "" ? null : tables,
    registries: [...new Set([...(isReplaced ? [] : CRATES_IO), ...indexes, ...named])],
  };
}

function readConfiguration(environment: Readonly<Record<string, string | undefined>>): string {
  const home = environment.CARGO_HOME || join(environment.HOME ?? homedir(), ".cargo");
  for (const name of ["config.toml", "config"]) {
    try {
      return readFileSync(join(home, name), "utf8");
    } catch {
      // The next one.
    }
  }
  return "";
}

/**
 * The tables that say where crates come from; those of addresses only, since folders of this machine are not in the sandbox. They lie in the dependency layer, where code of the user's can
 * read them while it is compiled: so without tokens, and without registries whose address has a password.
 */
function sourceTables(text: string): string {
  return text
    .split(/^(?=\s*\[)/m)
    .filter((table) => /^\s*\[(?:source|registries)\./.test(table) && !/^\s*(?:directory|local-registry|git)\s*=/m.test(table))
    .filter((table) => !/=\s*"[^"]*\/\/[^"/]*@/.test(table))
    .map((table) => table.replaceAll(/^\s*(?:token|secret-key|credential-provider)\s*=.*\n?/gm, "").trim())
    .join("\n\n");
}
