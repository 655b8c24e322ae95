import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import type { Log } from "./log.ts";
import type { Schema } from "./schema.ts";

const INT8 = 20;
const POOL_SIZE = 10;
const CONNECT_TIMEOUT_MS = 10_000;
/** No query of the store takes this long; past it the connection is taken for cut. */
const QUERY_TIMEOUT_MS = 60_000;

// 64-bit integers here are ids, revisions and counts far below 2^53, so they are read as numbers.
const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: "text" | "binary") =>
    oid === INT8 && format !== "binary" ? Number : pg.types.getTypeParser(oid, format)) as pg.CustomTypesConfig["getTypeParser"],
};

/** Where the database is, and what must be true before a connection to it may be used. */
export interface DatabaseAddress {
  readonly client: pg.ClientConfig;
  /** Resolves when the database is there and ours; rejects when it is not in time. */
  ready(): Promise<void>;
}

/** All connections to one database: a pool behind Kysely, and single ones for work of their own. */
export class Connections {
  readonly database: Kysely<Schema>;
  readonly #address: DatabaseAddress;
  readonly #pool: pg.Pool;

  constructor(address: DatabaseAddress, log: Log) {
    this.#address = address;
    const pool = new pg.Pool({
      ...this.#clientConfig(),
      max: POOL_SIZE,
      idleTimeoutMillis: 30_000,
      onConnect: keepCommitsDurable,
    });
    // Without listeners a connection that breaks would end the process: the pool's speaks for idle ones, the client's own for those in use,
    // whose query fails with the same error.
    pool.on("error", (error) => log("warn", "An idle database connection was lost.", { reason: error.message }));
    pool.on("connect", (client) => client.on("error", () => {}));
    this.#pool = pool;
    this.database = new Kysely<Schema>({
      dialect: new PostgresDialect({
        pool: {
          async connect() {
            await address.ready();
            return pool.connect();
          },
          end: () => pool.end(),
          options: pool.options,
        },
      }),
    });
  }

  /** A connection of its own, for COPY or LISTEN. The caller ends it. `synchronousCommit: "off"`: commits do not wait for the disk. */
  async single(options: { applicationName: string; synchronousCommit: "on" | "off" }): Promise<pg.Client> {
    await this.#address.ready();
    const client = new pg.Client({ ...this.#clientConfig(), application_name: options.applicationName });
    client.on("error", () => {});
    try {
      await client.connect();
      if (options.synchronousCommit === "off") await client.query("SET synchronous_commit = off");
      else await keepCommitsDurable(client);
    } catch (error) {
      void client.end().catch(() => {});
      throw error;
    }
    return client;
  }

  /** Ends the pool; connections still in use after `timeoutMs` are left to the server's shutdown. */
  async close(timeoutMs: number): Promise<void> {
    const timeout = Promise.withResolvers<void>();
    const timer = setTimeout(timeout.resolve, timeoutMs);
    await Promise.race([this.#pool.end(), timeout.promise]);
    clearTimeout(timer);
  }

  #clientConfig(): pg.ClientConfig {
    return {
      application_name: "treadle",
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: QUERY_TIMEOUT_MS,
      keepAlive: true,
      types,
      ...this.#address.client,
    };
  }
}

/** A server may be set to acknowledge before the log is on disk; Treadle's own acknowledgements must not come earlier than that. */
async function keepCommitsDurable(client: pg.ClientBase): Promise<void> {
  await client.query("SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'");
}
