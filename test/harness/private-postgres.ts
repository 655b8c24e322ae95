import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findBundledPostgres, findSystemPostgres, openStore } from "@treadle/store";
import { sql } from "kysely";

/** A Postgres server with an empty database, in the role of the one behind DATABASE_URL: the system's where there is one, else a second one of the bundled kind. */
export async function privatePostgres(): Promise<AsyncDisposable & { readonly url: string }> {
  await using stack = new AsyncDisposableStack();
  const directory = mkdtempSync(join(tmpdir(), "treadle-postgres-"));
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));
  const system = (await findSystemPostgres()).length > 0 || (await findBundledPostgres()) === null;
  const host = stack.use(await openStore({ dataDirectory: directory, engine: system ? "system" : "bundled", log: () => {} }));
  await sql`CREATE DATABASE treadle_test TEMPLATE template0`.execute(host.database);
  const kept = stack.move();
  return {
    url: `postgresql://treadle@/treadle_test?host=${encodeURIComponent(join(directory, "database/data"))}`,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}
