import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { findRuntimes, type Runtime } from "@treadle/runtimes";
import { BINARY, ROOT, type TreadleServer } from "./treadle.ts";

/** The example of a language, deployed. */
export interface DeployedExample {
  readonly language: string;
  /** Its function's path on the server. */
  readonly path: string;
  /** Entry file that a server by hand is started with. */
  readonly entrypoint: string;
  /** Its layers on this machine: the folders that Treadle mounts into its sandboxes. */
  readonly code: string;
  readonly dependencies: string | null;
}

/** The languages of this machine (those that TREADLE_LANGUAGES names, `go,rust`, where it is set), and what is to be said of the others. */
export async function languagesHere(): Promise<{ available: readonly Runtime[]; notes: string[] }> {
  const { available, missing } = await findRuntimes();
  const asked = process.env.TREADLE_LANGUAGES?.split(",");
  const isWanted = ({ language }: { language: string }) => asked?.includes(language) ?? true;
  return {
    available: available.filter(isWanted),
    notes: [
      ...(asked === undefined ? [] : [`Only ${asked.join(", ")} were asked for.`]),
      ...missing.filter(isWanted).map(({ language, reason }) => `${language} was not measured: ${reason}`),
    ],
  };
}

/** Builds and activates packages/runtimes/LANGUAGE/example by `treadle deploy`. @throws Error with the end of the build's log */
export async function deployExample(treadle: TreadleServer, dataDirectory: string, runtime: Runtime): Promise<DeployedExample> {
  const { language, defaultEntrypoint: entrypoint } = runtime;
  const folder = join(ROOT, "packages", "runtimes", language, "example");
  const args = ["deploy", folder, "--workspace", "examples", "--server", treadle.url, "--json"];
  const { stdout } = await promisify(execFile)(BINARY, args);
  const made = JSON.parse(stdout) as { function: string; version: number; url: string };
  const { build } = await treadle.client.get<{ build: { layers: readonly { kind: string; sha256: string }[] } }>(
    `/api/v1/workspaces/examples/functions/${made.function}/deployments/${made.version}`,
  );
  const layer = (kind: string) => {
    const found = build.layers.find((each) => each.kind === kind);
    return found === undefined ? null : join(dataDirectory, "layers", found.sha256);
  };
  return {
    language,
    path: made.url.slice(treadle.url.length),
    entrypoint,
    code: layer("code") as string,
    dependencies: layer("dependencies"),
  };
}
