import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { findRuntimes, type Runtime } from "@treadle/runtimes";
import type { HandlerFile } from "../benchmarks/handlers.ts";
import { temporaryFolder } from "./program.ts";
import { BINARY, ROOT, type TreadleServer } from "./treadle.ts";

/** The workspace that programs are deployed into. */
export const WORKSPACE = "deployed";

/** A program in some language, deployed. */
export interface DeployedProgram {
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

/** Builds and activates packages/runtimes/LANGUAGE/example. @throws Error with the end of the build's log */
export function deployExample(treadle: TreadleServer, dataDirectory: string, runtime: Runtime): Promise<DeployedProgram> {
  return deploy(treadle, dataDirectory, runtime, join(ROOT, "packages", "runtimes", runtime.language, "example"));
}

/** Builds and activates a handler of one file, as the function `NAME-LANGUAGE`. @throws Error with the end of the build's log */
export async function deployHandler(
  treadle: TreadleServer,
  dataDirectory: string,
  runtime: Runtime,
  name: string,
  file: HandlerFile,
): Promise<DeployedProgram> {
  await using folder = await temporaryFolder();
  const path = join(folder.path, file.path);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, file.text);
  const { language } = runtime;
  return await deploy(treadle, dataDirectory, runtime, folder.path, [
    "--language",
    language,
    "--function",
    `${name}-${language}`,
  ]);
}

async function deploy(
  treadle: TreadleServer,
  dataDirectory: string,
  { language, defaultEntrypoint: entrypoint }: Runtime,
  folder: string,
  more: readonly string[] = [],
): Promise<DeployedProgram> {
  const args = ["deploy", folder, "--workspace", WORKSPACE, "--server", treadle.url, "--json", ...more];
  const { stdout } = await promisify(execFile)(BINARY, args);
  const made = JSON.parse(stdout) as { function: string; version: number; url: string };
  const { build } = await treadle.client.get<{ build: { layers: readonly { kind: string; sha256: string }[] } }>(
    `/api/v1/workspaces/${WORKSPACE}/functions/${made.function}/deployments/${made.version}`,
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
