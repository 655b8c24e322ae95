import { join } from "node:path";
import { Client } from "../measure/client.ts";
import { type ProcessFacts, processTree } from "../measure/processes.ts";
import { Program } from "./program.ts";

export const ROOT = join(import.meta.dirname, "..", "..");
export const BINARY = join(ROOT, "bin", "treadle");
const PATIENCE_MS = 60_000;
/** More than any benchmark makes, so that retention removes nothing that is counted afterwards. */
const KEEP_EXECUTIONS = "1000000000";

/** A live instance, as /api/v1/instances tells of it. */
export interface InstanceFacts {
  readonly id: string;
  readonly workspace: string;
  readonly runtime: string;
  readonly inFlight: number;
  readonly memoryBytes: number;
}

/** What /metrics tells of executions. */
export interface ExecutionCounts {
  /** Executions that ended since the server started. */
  readonly ended: number;
  /** Records waiting to be written. */
  readonly buffered: number;
  readonly dropped: number;
}

/** The processes of a server by what they are for. */
export interface ServerProcesses {
  readonly server: ProcessFacts[];
  readonly database: ProcessFacts[];
  /** Of each instance, with what supervises it in its sandbox, by the instance's id. */
  readonly instances: ReadonlyMap<string, ProcessFacts[]>;
  /** Prewarmed processes, launchers of sandboxes, and what is just starting or ending. */
  readonly others: ProcessFacts[];
}

/** `treadle serve` in a process of its own, with the default settings but for the flags given. */
export class TreadleServer implements AsyncDisposable {
  readonly program: Program;
  readonly client: Client;
  /** Warnings and errors of the server's own log. */
  readonly complaints: readonly string[];

  private constructor(program: Program, complaints: readonly string[]) {
    this.program = program;
    this.client = new Client(program.url);
    this.complaints = complaints;
  }

  static async start(dataDirectory: string, flags: readonly string[] = []): Promise<TreadleServer> {
    const complaints: string[] = [];
    const usual = ["--port", "0", "--data-dir", dataDirectory, "--retention-count", KEEP_EXECUTIONS];
    const program = await Program.start([BINARY, "serve", ...usual, ...flags], (line) => {
      const complaint = complaintIn(line);
      // Complaints end up on the page, which is no place for this machine's folders.
      if (complaint !== null && complaints.length < 100)
        complaints.push(complaint.replaceAll(dataDirectory, "DATA_DIR").replaceAll(ROOT, "."));
    });
    return new TreadleServer(program, complaints);
  }

  get url(): string {
    return this.program.url;
  }

  /** Creates or replaces a workspace of inline functions. */
  async save(workspace: string, functions: Record<string, object>): Promise<void> {
    await this.client.send("POST", `/v2/functions/${workspace}`, { functions });
  }

  async instances(): Promise<{ instances: InstanceFacts[]; prewarmed: number }> {
    return this.client.get("/api/v1/instances");
  }

  async counts(): Promise<ExecutionCounts> {
    const { text } = await this.client.send("GET", "/metrics");
    const sum = (name: string) =>
      [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"))].reduce(
        (total, match) => total + Number(match[1]),
        0,
      );
    return {
      ended: sum("treadle_execution_duration_seconds_count"),
      buffered: sum("treadle_execution_records_buffered"),
      dropped: sum("treadle_execution_records_dropped_total"),
    };
  }

  /** Waits until every record is written or dropped, and no call is under way; returns the counts then. */
  async settled(): Promise<ExecutionCounts> {
    let before = -1;
    return until(async () => {
      const counts = await this.counts();
      const still = counts.buffered === 0 && counts.ended === before;
      before = counts.ended;
      return still ? counts : null;
    }, "all records are written");
  }

  /** Waits until so many prewarmed processes are ready. */
  async prewarmed(count: number): Promise<void> {
    await until(async () => ((await this.instances()).prewarmed >= count ? true : null), `${count} processes are prewarmed`);
  }

  /** How many executions of a workspace can be read back from the database. */
  async stored(workspace: string): Promise<number> {
    let count = 0;
    let after: string | null = null;
    do {
      const page: { executions: unknown[]; next: string | null } = await this.client.get(
        `/api/v1/executions?workspace=${workspace}&limit=1000${after === null ? "" : `&after=${encodeURIComponent(after)}`}`,
      );
      count += page.executions.length;
      after = page.next;
    } while (after !== null);
    return count;
  }

  /** The server's processes now. Those of an instance are known by their control group, which is named after it. */
  async processes(): Promise<ServerProcesses> {
    const { instances } = await this.instances();
    const byInstance = new Map<string, ProcessFacts[]>(instances.map(({ id }) => [id, []]));
    const server: ProcessFacts[] = [];
    const database: ProcessFacts[] = [];
    const others: ProcessFacts[] = [];
    for (const each of processTree(this.program.pid)) {
      const group = /\/([^/\n]+)$/m.exec(each.controlGroups.split("\n").find((line) => /:(memory|pids|):/.test(line)) ?? "")?.[1];
      if (each.pid === this.program.pid) server.push(each);
      else if (each.name === "postgres") database.push(each);
      else (byInstance.get(group ?? "") ?? others).push(each);
    }
    return { server, database, instances: byInstance, others };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client[Symbol.dispose]();
    await this.program[Symbol.asyncDispose]();
  }
}

/** Asks every 20 ms until the answer is not null. @throws Error after a minute */
export async function until<T>(ask: () => Promise<T | null>, what: string): Promise<T> {
  const deadline = performance.now() + PATIENCE_MS;
  while (performance.now() < deadline) {
    const answer = await ask();
    if (answer !== null) return answer;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`waited ${PATIENCE_MS} ms in vain until ${what}`);
}

const WARNING_LEVEL = 40;

/** What a line of the server's log complains about; null when it does not. */
function complaintIn(line: string): string | null {
  if (!line.startsWith("{")) return line.trim() === "" ? null : line;
  const { level, msg, time: _time, pid: _pid, hostname: _host, ...fields } = JSON.parse(line);
  return level >= WARNING_LEVEL ? `${msg} ${JSON.stringify(fields).slice(0, 300)}` : null;
}
