import { join } from "node:path";
import { findBundledPostgres, findSystemPostgres, openStore } from "@treadle/store";
import { sql } from "kysely";

/** A Postgres server with an empty database: what stands behind DATABASE_URL. */
export interface PrivatePostgres extends AsyncDisposable {
  readonly url: string;
  readonly version: string;
}

/** Starts one in a folder: the system's where there is one, else a second one of the bundled kind. */
export async function privatePostgres(folder: string): Promise<PrivatePostgres> {
  const system = (await findSystemPostgres()).length > 0 || (await findBundledPostgres()) === null;
  const host = await openStore({ dataDirectory: folder, engine: system ? "system" : "bundled", log: () => {} });
  await sql`CREATE DATABASE bench TEMPLATE template0`.execute(host.database);
  return {
    url: `postgresql://treadle@/bench?host=${encodeURIComponent(join(folder, "database/data"))}`,
    version: host.engine.version,
    [Symbol.asyncDispose]: () => host[Symbol.asyncDispose](),
  };
}
