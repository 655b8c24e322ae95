import type { ChildProcess } from "node:child_process";
import { chmod, chown, type FileHandle, mkdir, open, statfs } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { isTreadleError, TreadleError } from "@treadle/errors";
import pg from "pg";
import type { DatabaseAddress } from "../connections.ts";
import type { Log } from "../log.ts";
import { sqlState } from "../storage-error.ts";
import { type Account, DATABASE_ACCOUNT, isRoot } from "./account.ts";
import { clusterMajor, clusterOwner, createCluster, DATABASE_NAME, DATABASE_USER, removeUnfinishedClusters } from "./cluster.ts";
import { choosePostgres, type PostgresPrograms } from "./engine.ts";
import { placePrograms } from "./place-programs.ts";
import { disarmLockFiles, lastLogLines, postmasterPid, servesDirectory, startPostmaster, stopPostmaster } from "./postmaster.ts";

/** Advisory lock whose holder is the one Treadle of this data directory. The server releases it when that process's connection breaks. */
const DIRECTORY_LOCK = 7_238_144_003;
const LOCK_PATIENCE_MS = 2_000;
const OPEN_PATIENCE_MS = 60_000;
/** How long a query waits for a server that is being restarted. */
const READY_PATIENCE_MS = 5_000;
const START_ATTEMPTS = 4;
const BACKOFF_MS = { first: 100, last: 5_000 } as const;
/** Room on the disk that changes must leave: what a checkpoint, a recovery and their log need. */
const RESERVE_BYTES = 24 * 1024 * 1024;
/** SQLSTATE of a server that is starting, recovering or shutting down, and of one whose connections are all taken. */
const NOT_NOW = new Set(["57P03", "57P01", "57P02", "53300"]);

/**
 * The database server of a data directory: started, or adopted when an earlier Treadle was killed and left it running; held by a lock;
 * started again when it dies; stopped at the end.
 */
export class EmbeddedServer implements DatabaseAddress {
  readonly client: pg.ClientConfig;
  readonly programs: PostgresPrograms;
  readonly #cluster: string;
  readonly #account: Account | null;
  readonly #directoryHandle: FileHandle;
  readonly #log: Log;
  #child: ChildProcess | null = null;
  #lock: pg.Client | null = null;
  #ready = Promise.withResolvers<void>();
  #closing = false;
  #recovery: Promise<void> | null = null;

  private constructor(cluster: string, programs: PostgresPrograms, account: Account | null, handle: FileHandle, log: Log) {
    this.#cluster = cluster;
    this.programs = programs;
    this.#account = account;
    this.#directoryHandle = handle;
    this.#log = log;
    this.client = {
      // Through the open directory instead of its path: a socket's path may have 107 bytes only.
      host: `/proc/self/fd/${handle.fd}`,
      port: 5432,
      user: DATABASE_USER,
      database: DATABASE_NAME,
      password: "",
      ssl: false,
      options: "-c synchronous_commit=on",
    };
    this.#ready.promise.catch(() => {});
  }

  /**
   * Opens the server of `dataDirectory`, making the database first if there is none. Throws DATA_DIRECTORY_LOCKED when another Treadle has it,
   * INVALID_SETTING when programs are missing or do not fit the database, STORAGE_UNAVAILABLE when the server does not start.
   */
  static async open(dataDirectory: string, engine: "bundled" | "system" | undefined, log: Log): Promise<EmbeddedServer> {
    const parent = path.join(dataDirectory, "database");
    const cluster = path.join(parent, "data");
    await mkdir(dataDirectory, { recursive: true, mode: 0o700 });
    const major = await clusterMajor(cluster);
    const account = await databaseAccount(major === null ? null : cluster);
    await mkdir(parent, { recursive: true, mode: 0o700 });
    if (account !== null) await chown(parent, account.uid, account.gid);
    await chmod(parent, 0o700);
    const programs = await placePrograms(await choosePostgres(engine, major), account, parent);
    if (major === null) await createCluster(cluster, programs, account);
    const handle = await open(cluster);
    const server = new EmbeddedServer(cluster, programs, account, handle, log);
    try {
      server.#hold(await server.#obtain(OPEN_PATIENCE_MS));
      await removeUnfinishedClusters(cluster);
      return server;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Resolves while the server is there and the lock is ours; waits a while for a restart, then rejects with STORAGE_UNAVAILABLE. */
  async ready(): Promise<void> {
    // Nearly always; the timer below would cost more than the query.
    if (this.#lock !== null && !this.#closing) return;
    const abort = new AbortController();
    const late = delay(READY_PATIENCE_MS, undefined, { signal: abort.signal }).then(
      () => {
        throw new TreadleError("STORAGE_UNAVAILABLE", "The database server has stopped and is being started again.");
      },
      () => {},
    );
    try {
      await Promise.race([this.#ready.promise, late]);
    } finally {
      abort.abort();
    }
  }

  /** Rejects with STORAGE_UNAVAILABLE when the disk is too full to take changes safely: a full disk would stop the server instead of one statement. */
  async ensureRoom(): Promise<void> {
    const { bavail, bsize } = await statfs(this.#cluster);
    const free = bavail * bsize;
    if (free < RESERVE_BYTES) {
      throw new TreadleError(
        "STORAGE_UNAVAILABLE",
        `The disk of the data directory is full: ${free >> 20} MB are free, and ${RESERVE_BYTES >> 20} MB must stay free.`,
        { details: { freeBytes: free, reserveBytes: RESERVE_BYTES } },
      );
    }
  }

  /** Stops the server. The lock is held until it is down. */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    this.#ready.reject(new TreadleError("STORAGE_UNAVAILABLE", "The store is closed."));
    await this.#recovery;
    const pid = this.#lock === null ? (this.#child?.pid ?? null) : await postmasterPid(this.#cluster);
    if (pid !== null) await stopPostmaster(pid, this.#cluster);
    await this.#lock?.end().catch(() => {});
    await this.#directoryHandle.close();
  }

  #hold(client: pg.Client): void {
    this.#lock = client;
    const lost = (): void => {
      if (this.#lock !== client || this.#closing) return;
      this.#lock = null;
      this.#ready = Promise.withResolvers<void>();
      this.#ready.promise.catch(() => {});
      this.#recovery = this.#recover().finally(() => {
        this.#recovery = null;
      });
    };
    client.once("error", lost);
    client.once("end", lost);
    this.#ready.resolve();
  }

  async #recover(): Promise<void> {
    this.#log("error", "The database server has stopped; it is started again.", { log: await lastLogLines(this.#cluster) });
    for (let attempt = 0; !this.#closing; attempt++) {
      try {
        const client = await this.#obtain(OPEN_PATIENCE_MS);
        this.#hold(client);
        this.#log("info", "The database server is back.");
        return;
      } catch (error) {
        if (isTreadleError(error) && error.code === "DATA_DIRECTORY_LOCKED") {
          this.#log("error", "Another Treadle has taken the data directory; this one can store nothing more.");
          this.#ready.reject(error);
          return;
        }
        this.#log("error", "The database server could not be started; it is tried again.", { reason: String(error) });
        const until = performance.now() + Math.min(BACKOFF_MS.first * 2 ** attempt, BACKOFF_MS.last);
        while (!this.#closing && performance.now() < until) await delay(50);
      }
    }
  }

  /**
   * Gets hold of the server: connects to the one that is running, waits for one that is starting or shutting down, starts one where there
   * is none; then takes the lock. Another Treadle doing the same at the same time starts the same server or meets this one's; the lock decides.
   */
  async #obtain(patienceMs: number): Promise<pg.Client> {
    const deadline = performance.now() + patienceMs;
    let failures = 0;
    for (let pause = 5; ; pause = Math.min(pause * 1.3, 50)) {
      if (this.#closing) throw new TreadleError("STORAGE_UNAVAILABLE", "The store is closed.");
      const client = await this.#connect();
      if (client !== null) {
        const taken = await this.#takeLock(client);
        if (taken) return client;
        await client.end().catch(() => {});
      } else if (
        this.#child === null ||
        this.#child.exitCode !== null ||
        this.#child.signalCode !== null ||
        this.#child.pid === undefined
      ) {
        if (this.#child !== null && failures >= START_ATTEMPTS) {
          throw new TreadleError(
            "STORAGE_UNAVAILABLE",
            `The database server does not start. Its log ends with:\n${await lastLogLines(this.#cluster)}`,
          );
        }
        const pid = await postmasterPid(this.#cluster);
        if (pid === null || !(await servesDirectory(pid, this.#cluster))) {
          await disarmLockFiles(this.#cluster);
          if (this.#child !== null) await delay(BACKOFF_MS.first * 2 ** failures++);
          this.#child = await startPostmaster(this.#cluster, this.programs, this.#account);
          pause = 5;
        }
      }
      if (performance.now() > deadline) {
        throw new TreadleError(
          "STORAGE_UNAVAILABLE",
          `The database server did not become ready within ${patienceMs / 1000} s. Its log ends with:\n${await lastLogLines(this.#cluster)}`,
        );
      }
      await delay(pause);
    }
  }

  /** A connection, or null when no server listens or it does not take connections yet, or any more. */
  async #connect(): Promise<pg.Client | null> {
    const client = new pg.Client({ ...this.client, application_name: "treadle-lock", connectionTimeoutMillis: 10_000 });
    client.on("error", () => {});
    try {
      await client.connect();
      return client;
    } catch (error) {
      void client.end().catch(() => {});
      const state = sqlState(error);
      if (state === undefined || NOT_NOW.has(state)) return null;
      throw error;
    }
  }

  /** True when the lock is ours now; false when the server went away meanwhile. A killed Treadle's lock is released within moments, so there is a little patience. */
  async #takeLock(client: pg.Client): Promise<boolean> {
    const deadline = performance.now() + LOCK_PATIENCE_MS;
    for (;;) {
      let taken: boolean | undefined;
      try {
        const result = await client.query<{ taken: boolean }>("SELECT pg_try_advisory_lock($1) AS taken", [DIRECTORY_LOCK]);
        taken = result.rows[0]?.taken;
      } catch {
        return false;
      }
      if (taken === true) return true;
      if (performance.now() > deadline) {
        await client.end().catch(() => {});
        throw lockedError(path.dirname(path.dirname(this.#cluster)));
      }
      await delay(25);
    }
  }
}

function lockedError(dataDirectory: string): TreadleError {
  return new TreadleError(
    "DATA_DIRECTORY_LOCKED",
    `Another Treadle uses the data directory ${dataDirectory}. Stop it, or choose another directory.`,
    { details: { dataDirectory } },
  );
}

/** null: this process's own user. As root, the owner of an existing database, or for a new one the fixed account. */
async function databaseAccount(cluster: string | null): Promise<Account | null> {
  if (!isRoot()) return null;
  const owner = cluster === null ? null : await clusterOwner(cluster);
  return owner === null || owner.uid === 0 ? DATABASE_ACCOUNT : owner;
}
