import { isTreadleError, TreadleError } from "@treadle/errors";
import { sql } from "kysely";
import { createBuildStore } from "./builds/build-store.ts";
import { createDependencyLayerStore } from "./builds/dependency-layer-store.ts";
import { Connections, type DatabaseAddress } from "./connections.ts";
import { createDependencyStore } from "./dependency-store.ts";
import { createDeploymentStore } from "./deployments/deployment-store.ts";
import { createDomainStore } from "./domain-store.ts";
import { EmbeddedServer } from "./embedded/embedded-server.ts";
import { OLDEST_MAJOR } from "./embedded/engine.ts";
import { ExecutionRecorder } from "./execution-recorder.ts";
import { createExecutionStore } from "./execution-store.ts";
import { createBundleStore } from "./files/bundle-store.ts";
import { createFileStore } from "./files/file-store.ts";
import { createImportStore } from "./files/import-store.ts";
import { createUploadStore } from "./files/upload-store.ts";
import { createCallbackStore } from "./jobs/callback-store.ts";
import { createJobStore } from "./jobs/job-store.ts";
import { createScheduleStore } from "./jobs/schedule-store.ts";
import { migrate } from "./migrate.ts";
import { DEFAULT_RETENTION, Retention } from "./retention.ts";
import { guarded, toStoreError } from "./storage-error.ts";
import type { Store, StoreOptions } from "./store.ts";
import { createVariableStore } from "./variable-store.ts";
import { createWorkspaceStore } from "./workspace-store.ts";

const FINAL_FLUSH_MS = 5_000;
const POOL_CLOSE_MS = 2_000;

/**
 * Opens the database, embedded or at `databaseUrl`, and brings it to this version's schema.
 *
 * Throws DATA_DIRECTORY_LOCKED when another Treadle has the data directory, INVALID_SETTING when the settings or the database do not fit this
 * version, STORAGE_UNAVAILABLE when the database does not start or answer.
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { log } = options;
  const server =
    options.databaseUrl === undefined
      ? await EmbeddedServer.open(options.dataDirectory, options.engine, log).catch(rethrow)
      : null;
  const connections = new Connections(server ?? serverAddress(options.databaseUrl ?? ""), log);
  try {
    return await assemble(options, connections, server);
  } catch (error) {
    await connections.close(POOL_CLOSE_MS);
    await server?.close();
    return rethrow(error);
  }
}

async function assemble(options: StoreOptions, connections: Connections, server: EmbeddedServer | null): Promise<Store> {
  const { log } = options;
  const { version, migrated } = await prepareDatabase(connections);
  const { database } = connections;
  const settings = { ...DEFAULT_RETENTION, ...options.retention };
  const ensureRoom = async (): Promise<void> => server?.ensureRoom();
  const recorder = new ExecutionRecorder(
    () => connections.single({ applicationName: "treadle-recorder", synchronousCommit: "off" }),
    ensureRoom,
    log,
  );
  const retention = new Retention(database, settings, log);
  let closed: Promise<void> | null = null;
  const close = async (): Promise<void> => {
    await retention.close();
    await recorder.close(FINAL_FLUSH_MS);
    await connections.close(POOL_CLOSE_MS);
    await server?.close();
  };
  const store: Store = {
    database,
    engine: { kind: server === null ? "server" : "embedded", version, programs: server?.programs.kind ?? null, migrated },
    workspaces: createWorkspaceStore(database, {
      versionsKept: settings.versionsPerFunction,
      beforeChange: ensureRoom,
      flushExecutions: () => recorder.flush(),
    }),
    deployments: createDeploymentStore(database, { versionsKept: settings.versionsPerFunction, beforeChange: ensureRoom }),
    variables: createVariableStore(database, ensureRoom),
    executions: createExecutionStore(database, recorder),
    dependencies: createDependencyStore(database, ensureRoom),
    domains: createDomainStore(database, ensureRoom),
    files: createFileStore(database, ensureRoom),
    bundles: createBundleStore(database, ensureRoom),
    imports: createImportStore(database, ensureRoom),
    uploads: createUploadStore(database, ensureRoom),
    builds: createBuildStore(database, ensureRoom),
    dependencyLayers: createDependencyLayerStore(database, ensureRoom),
    jobs: createJobStore({
      database,
      beforeChange: ensureRoom,
      // The embedded database is this process's alone. What goes over it are hints, which need not reach the disk.
      connect: server === null ? () => connections.single({ applicationName: "treadle-jobs", synchronousCommit: "off" }) : null,
    }),
    callbacks: createCallbackStore(database),
    schedules: createScheduleStore(database, ensureRoom),
    prune: () => retention.prune(),
    check: () => guarded(async () => void (await sql`SELECT 1`.execute(database))),
    close() {
      closed ??= close();
      return closed;
    },
    [Symbol.asyncDispose]: () => store.close(),
  };
  return store;
}

/** Checks that the server is one the SQL is written for, and migrates it. */
async function prepareDatabase(connections: Connections): Promise<{ version: string; migrated: string[] }> {
  const client = await connections.single({ applicationName: "treadle-migrations", synchronousCommit: "on" });
  try {
    const { rows } = await client.query<{ version: string; encoding: string }>(
      "SELECT current_setting('server_version') AS version, current_setting('server_encoding') AS encoding",
    );
    const { version = "", encoding = "" } = rows[0] ?? {};
    if (Number.parseInt(version, 10) < OLDEST_MAJOR || encoding !== "UTF8") {
      throw new TreadleError(
        "INVALID_SETTING",
        `The database is Postgres ${version} with encoding ${encoding}; version ${OLDEST_MAJOR} or later with UTF8 is needed.`,
      );
    }
    return { version: version.split(" ")[0] ?? version, migrated: await migrate(client) };
  } finally {
    await client.end().catch(() => {});
  }
}

function serverAddress(databaseUrl: string): DatabaseAddress {
  // Not every address that pg takes is a URL to WHATWG: one without a host, for a socket, is not.
  if (!/^postgres(ql)?:\/\/./.test(databaseUrl)) {
    throw new TreadleError(
      "INVALID_SETTING",
      "DATABASE_URL is not an address of the form postgres://user:password@host:5432/database.",
    );
  }
  return { client: { connectionString: databaseUrl }, ready: async () => {} };
}

function rethrow(error: unknown): never {
  const failure = toStoreError(error);
  if (isTreadleError(failure)) throw failure;
  throw error;
}
