import { access, constants, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import type { Runtime } from "@treadle/runtimes";
import type { EgressPolicy, RootSpec, SandboxDriver } from "@treadle/sandbox";
import { runTool, type ToolEnd, type ToolRun } from "../../sandboxed-tools/run-tool.ts";
import type { Source } from "../builds.ts";
import { sourceTooLarge } from "./bad-archive.ts";
import { gitAddress, unavailable } from "./git-address.ts";
import { type ArchiveIntake, takeArchive } from "./take-archive.ts";

const MEBIBYTE = 1024 * 1024;
const GIT = "/usr/bin/git";
const GIT_CORE = ["/usr/lib/git-core", "/usr/libexec/git-core"];
const SHELL = "/bin/sh";
const TIMEOUT_MS = 300_000;
const STDERR_KEPT = 16 * 1024;

/** Nothing of the repository's is run: no hooks, no submodules, no filters, and git asks nobody for anything. */
const OPTIONS = [
  ...[
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "credential.helper=",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "submodule.recurse=false",
  ],
  ...["-c", "protocol.allow=never", "-c", "protocol.https.allow=always", "-c", "protocol.http.allow=always", "-c", "gc.auto=0"],
  ...["-c", "core.compression=0", "-c", "pack.threads=1", "-c", "safe.directory=*"],
].join(" ");
const FETCH = `${GIT} init -q --bare --template= /work/repository && exec ${GIT} ${OPTIONS} -C /work/repository fetch -q --depth 1 --no-tags --no-recurse-submodules --no-write-commit-graph -- "$URL" "$REF"`;
/** The commit on stderr, its tree as a tar on stdout. */
const ARCHIVE = `${GIT} -C /work/repository rev-parse --verify 'FETCH_HEAD^{commit}' >&2 && exec ${GIT} ${OPTIONS} -C /work/repository archive --format=tar FETCH_HEAD`;

export interface GitIntake extends ArchiveIntake {
  readonly driver: SandboxDriver;
  /** Runs the relay by which git gets out. */
  readonly node: Runtime;
  readonly gitHosts: readonly string[];
  readonly gitTrusted: readonly string[];
}

/**
 * Takes one commit of a repository in: fetched in one sandbox that reaches that host and nothing else, turned into a tar in another without network, and then checked
 * like any archive.
 * @throws SOURCE_UNAVAILABLE, BAD_ARCHIVE, SOURCE_TOO_LARGE
 */
export async function takeGit(from: { readonly url: string; readonly ref?: string }, intake: GitIntake): Promise<Source> {
  const address = gitAddress(from.url, from.ref, intake);
  const root = await gitRoot();
  const work = join(intake.staging, "git");
  await mkdir(work);
  const run = async (script: string, policy: EgressPolicy | null, onOutput: ToolRun["onOutput"], signal: AbortSignal) => {
    const end = await runTool(intake.driver, {
      command: [SHELL, "-c", script],
      environment: {
        ...{
          HOME: "/tmp",
          GIT_CONFIG_NOSYSTEM: "1",
          GIT_CONFIG_GLOBAL: "/dev/null",
          GIT_TERMINAL_PROMPT: "0",
          GIT_LFS_SKIP_SMUDGE: "1",
        },
        ...{ URL: address.url, REF: address.ref },
      },
      workingDirectory: "/work",
      root,
      mounts: [{ source: work, target: "/work", access: "read-write" }],
      limits: { memoryBytes: 1024 * MEBIBYTE, processes: 64, cpus: null, scratchBytes: 64 * MEBIBYTE, openFiles: 1024 },
      timeoutMs: TIMEOUT_MS,
      disk: { directory: work, bytes: intake.limits.maxBytes, files: null },
      network: policy === null ? null : { policy, node: intake.node },
      signal,
      onOutput,
    });
    intake.signal?.throwIfAborted();
    refuseLimits(end, intake.limits.maxBytes);
    return end;
  };
  const never = new AbortController().signal;
  let said = "";
  const fetched = await run(
    FETCH,
    address.policy,
    (_stream, chunk) => {
      said = (said + chunk.toString("utf8")).slice(-STDERR_KEPT);
    },
    intake.signal ?? never,
  );
  if (fetched.exit.code !== 0) throw unavailable(fetchFailure(said, fetched));

  const tar = new PassThrough();
  const decoder = new StringDecoder();
  let commit = "";
  const enough = new AbortController();
  const archived = run(
    ARCHIVE,
    null,
    (stream, chunk) => {
      if (stream === "stderr") commit = (commit + decoder.write(chunk)).slice(0, STDERR_KEPT);
      // Refused already: nobody will read it, and no event will come.
      else if (!tar.destroyed && !tar.write(chunk)) {
        return new Promise<void>((resolve) => tar.once("drain", resolve).once("close", resolve));
      }
    },
    AbortSignal.any([enough.signal, intake.signal ?? never]),
  ).then((end) => {
    if (end.exit.code === 0) tar.end();
    else tar.destroy(unavailable("git could not read the commit it fetched."));
  });
  archived.catch((error) => tar.destroy(error));
  try {
    const source = await takeArchive(tar, intake);
    await archived;
    const id = /^([0-9a-f]{40}|[0-9a-f]{64})\n/.exec(commit)?.[1];
    return id === undefined ? source : { ...source, commit: id };
  } finally {
    // Ends git when its tar was refused before its end.
    enough.abort();
    tar.destroy();
    await archived.catch(() => {});
  }
}

async function gitRoot(): Promise<RootSpec> {
  const exists = (path: string) =>
    access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
  if (!(await exists(GIT)))
    throw unavailable("This server has no git; send the source as an archive, or ask the operator to install git.");
  const core: string[] = [];
  for (const folder of GIT_CORE) if (await exists(folder)) core.push(folder);
  const helpers = ["git-remote-https", "git-remote-http"].flatMap((name) => core.map((folder) => `${folder}/${name}`));
  const executables = [
    { source: GIT, target: GIT },
    { source: "/bin/sh", target: SHELL },
  ];
  // Named one by one for the sake of the shared libraries they need; there is more in that folder than is needed here.
  for (const path of helpers) if (await exists(path)) executables.push({ source: path, target: path });
  return { executables, system: ["/etc/ssl/certs", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates"] };
}

function refuseLimits(end: ToolEnd, maxBytes: number): void {
  if (end.limit === "disk") throw sourceTooLarge(maxBytes);
  if (end.limit === "time") throw unavailable(`The repository could not be fetched within ${TIMEOUT_MS / 1000} seconds.`);
  if (end.limit === "disk_full") throw unavailable("The disk of the server is nearly full.");
  if (end.limit !== null) throw unavailable("git needed too much memory for this repository.");
}

function fetchFailure(said: string, end: ToolEnd): string {
  if (end.strayConnections > 0) return "The host may not be reached: its address is not public, or it sends on to another host.";
  if (/could not read Username|Authentication failed|terminal prompts disabled/i.test(said)) {
    return "The repository does not exist, or is not public.";
  }
  if (/couldn't find remote ref|not our ref|unadvertised object/i.test(said))
    return "The repository has no such branch, tag or commit.";
  if (/not found|returned error: 40[134]/i.test(said)) return "The repository does not exist, or is not public.";
  const line = said
    .split("\n")
    .map((each) => each.trim())
    .findLast((each) => each !== "");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is being removed.
  const safe = (line ?? "it said nothing").replace(/[\u0000-\u001f\u007f-\u009f]/g, " ").slice(0, 300);
  return `git could not fetch the repository: ${safe}`;
}
