import { finished } from "node:stream/promises";
import type { Runtime } from "@treadle/runtimes";
import {
  type EgressPolicy,
  egressRelayPath,
  type Mount,
  type RootSpec,
  type SandboxDriver,
  type SandboxExit,
  type SandboxLimits,
} from "@treadle/sandbox";
import { type DiskAllowance, type DiskLimit, watchDisk } from "./disk-watch.ts";

const RELAY = "/relay/relay.mjs";
/** Beside the sandbox's own programs, and not in /usr/bin, which the tool's root may have of the system. */
const RELAY_NODE = "/usr/lib/treadle/relay-node";

/** A program that is run in a sandbox of its own until it ends: an installer, a step of a build, git. */
export interface ToolRun {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  readonly root: RootSpec;
  readonly mounts: readonly Mount[];
  readonly limits: SandboxLimits;
  readonly timeoutMs: number;
  readonly disk: DiskAllowance;
  /** Where it may connect to, with the Node that runs the relay through which it does; null: no way out. */
  readonly network: { readonly policy: EgressPolicy; readonly node: Runtime } | null;
  /** Ends it. */
  readonly signal: AbortSignal;
  /** Each piece of what it prints, in order. What it returns holds the tool back until it resolves. */
  readonly onOutput: (stream: "stdout" | "stderr", chunk: Buffer) => void | Promise<void>;
}

export interface ToolEnd {
  readonly exit: SandboxExit;
  /** The limit that ended it; null: none did. */
  readonly limit: "memory" | "time" | DiskLimit | null;
  /** It was ended by `signal`. */
  readonly stopped: boolean;
  /** Connections that the policy refused. */
  readonly strayConnections: number;
}

/**
 * Runs a tool and waits until nothing of it is left. What it wrote is to be distrusted.
 * @throws SANDBOX_UNAVAILABLE when it could not be started, and what `onOutput` rejects with
 */
export async function runTool(driver: SandboxDriver, tool: ToolRun): Promise<ToolEnd> {
  const { network } = tool;
  await using sandbox = await driver.spawn({
    command: [...(network === null ? [] : [RELAY_NODE, RELAY, "--"]), ...tool.command],
    // NO_PROXY: without it the relay would keep a server on this machine's loopback address inside the sandbox.
    environment: {
      ...{ PATH: "/usr/local/bin:/usr/bin:/bin", LANG: "C.UTF-8", NO_COLOR: "1", NO_PROXY: "", no_proxy: "" },
      ...tool.environment,
    },
    workingDirectory: tool.workingDirectory,
    root: network === null ? tool.root : withRelay(tool.root, network.node),
    mounts: [
      ...tool.mounts,
      ...(network === null ? [] : [{ source: egressRelayPath, target: RELAY, access: "read-only" } as const]),
    ],
    limits: tool.limits,
    egress: network?.policy ?? null,
  });
  sandbox.channel.destroy();
  let limit: ToolEnd["limit"] = null;
  let stopped = false;
  const end = (why: ToolEnd["limit"]) => {
    if (limit !== null || stopped) return;
    if (why === null) stopped = true;
    else limit = why;
    void sandbox.kill();
  };
  const timer = setTimeout(() => end("time"), tool.timeoutMs);
  const stop = () => end(null);
  tool.signal.addEventListener("abort", stop);
  if (tool.signal.aborted) stop();
  using _disk = await watchDisk(tool.disk, end);
  try {
    const [exit] = await Promise.all([
      sandbox.exited,
      ...(["stdout", "stderr"] as const).map(async (name) => {
        for await (const chunk of sandbox[name]) {
          const taken = tool.onOutput(name, chunk as Buffer);
          if (taken !== undefined) await taken;
        }
        await finished(sandbox[name]);
      }),
    ]);
    if (limit === null && !stopped && exit.cause === "out_of_memory") limit = "memory";
    return { exit, limit, stopped, strayConnections: sandbox.egressCounts().denied };
  } finally {
    clearTimeout(timer);
    tool.signal.removeEventListener("abort", stop);
  }
}

function withRelay(root: RootSpec, node: Runtime): RootSpec {
  const [program] = node.root.executables;
  if (program === undefined) throw new Error("The runtime node names no executable.");
  return {
    executables: [...root.executables, { source: program.source, target: RELAY_NODE }],
    system: [...new Set([...root.system, ...node.root.system])],
  };
}
