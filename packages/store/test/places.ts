import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { CompiledQuery } from "kysely";
import { findBundledPostgres, findSystemPostgres, type Log, openStore, type Store } from "../src/index.ts";

/** A fresh directory, removed at the end. */
export async function temporaryDirectory(parent: string = os.tmpdir()): Promise<AsyncDisposable & { readonly path: string }> {
  const directory = await mkdtemp(path.join(parent, "treadle-store-test-"));
  return { path: directory, [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }) };
}

/** A log that is silent but remembered. */
export function rememberingLog(): { readonly log: Log; readonly lines: string[] } {
  const lines: string[] = [];
  return { lines, log: (level, message, fields) => lines.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`) };
}

/**
 * A Postgres server that the test owns, in the role of the one behind DATABASE_URL: the system's where there is one, so that another major
 * version is tested too, else a second bundled one. `newDatabase` gives the address of an empty database.
 */
export async function privateServer(): Promise<AsyncDisposable & { readonly version: string; newDatabase(): Promise<string> }> {
  await using stack = new AsyncDisposableStack();
  const directory = stack.use(await temporaryDirectory());
  const engine = (await findSystemPostgres()).length > 0 || (await findBundledPostgres()) === null ? "system" : "bundled";
  const host = stack.use(await openStore({ dataDirectory: directory.path, engine, log: () => {} }));
  const socket = path.join(directory.path, "database/data");
  const kept = stack.move();
  return {
    version: host.engine.version,
    async newDatabase() {
      const name = `test_${randomUUID().replaceAll("-", "")}`;
      await host.database.executeQuery(CompiledQuery.raw(`CREATE DATABASE ${name} TEMPLATE template0`));
      return `postgresql://treadle@/${name}?host=${encodeURIComponent(socket)}`;
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Opens a store on a place of the given kind and takes everything down with it. */
export async function storeOn(
  kind: "embedded" | "server",
  options: Partial<Parameters<typeof openStore>[0]> = {},
): Promise<AsyncDisposable & { readonly store: Store }> {
  await using stack = new AsyncDisposableStack();
  const directory = stack.use(await temporaryDirectory());
  const server = kind === "server" ? stack.use(await privateServer()) : null;
  const databaseUrl = await server?.newDatabase();
  const place = { dataDirectory: directory.path, log: () => {}, ...(databaseUrl === undefined ? {} : { databaseUrl }) };
  const store = stack.use(await openStore({ ...place, ...options }));
  const kept = stack.move();
  return { store, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
