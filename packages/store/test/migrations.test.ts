import { readdir, readFile } from "node:fs/promises";
import { CompiledQuery } from "kysely";
import pg from "pg";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { openStore, SCHEMA_COLUMNS } from "../src/index.ts";
import { privateServer } from "./places.ts";
import { sampleExecution, sampleFunction } from "./samples.ts";

// Generous: each test starts database servers, and the machine may be busy with other suites.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let server: Awaited<ReturnType<typeof privateServer>>;
beforeAll(async () => {
  server = await privateServer();
});
afterAll(() => server?.[Symbol.asyncDispose]());

const open = (databaseUrl: string) => openStore({ dataDirectory: "/nonexistent", databaseUrl, log: () => {} });

async function client(databaseUrl: string): Promise<pg.Client & AsyncDisposable> {
  const connection = new pg.Client({ connectionString: databaseUrl });
  await connection.connect();
  return Object.assign(connection, { [Symbol.asyncDispose]: () => connection.end() });
}

test("an empty database is migrated by two at once, each step one time, and both can work", async () => {
  const databaseUrl = await server.newDatabase();
  await using first = await open(databaseUrl);
  const stores = await Promise.all([open(databaseUrl), open(databaseUrl)]);
  await Promise.all(stores.map((store) => store.close()));
  expect(first.engine.migrated.length).toBeGreaterThan(0);

  const fresh = await server.newDatabase();
  const both = await Promise.all([open(fresh), open(fresh)]);
  try {
    const [applied, rest] = both.map((store) => store.engine.migrated.length).sort((a, b) => b - a);
    expect([applied, rest]).toEqual([first.engine.migrated.length, 0]);
    await Promise.all(
      both.map((store, index) => store.workspaces.save("w", { mode: "merge", functions: [sampleFunction(`f${index}`, "1")] })),
    );
    expect((await both[0]?.workspaces.find("w"))?.functions).toHaveLength(2);
  } finally {
    await Promise.all(both.map((store) => store.close()));
  }
});

test("the migrated database has exactly the columns the code knows", async () => {
  await using store = await open(await server.newDatabase());
  const { rows } = await store.database.executeQuery<{ table_name: string; column_name: string; type: string }>(
    CompiledQuery.raw(
      `SELECT table_name, column_name, data_type || CASE is_nullable WHEN 'YES' THEN '?' ELSE '' END AS type
       FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'schema_migrations'`,
    ),
  );
  const found: Record<string, Record<string, string>> = {};
  for (const { table_name, column_name, type } of rows) found[table_name] = { ...found[table_name], [column_name]: type };
  expect(found).toEqual(SCHEMA_COLUMNS);
});

test("a database that a newer Treadle has migrated is refused and left alone", async () => {
  const databaseUrl = await server.newDatabase();
  await (await open(databaseUrl)).close();
  await using connection = await client(databaseUrl);
  await connection.query("INSERT INTO schema_migrations VALUES ('9999')");
  await expect(open(databaseUrl)).rejects.toMatchObject({ code: "INVALID_SETTING", message: expect.stringContaining("9999") });
  await connection.query("DELETE FROM schema_migrations WHERE version = '9999'");
  await (await open(databaseUrl)).close();
});

test("migration files are what dbmate takes: numbered without gaps, each with one up block", async () => {
  const folder = new URL("../migrations/", import.meta.url);
  const names = (await readdir(folder)).sort();
  expect(names.length).toBeGreaterThan(0);
  for (const [index, name] of names.entries()) {
    expect(name).toMatch(new RegExp(`^${`${index + 1}`.padStart(4, "0")}_[a-z0-9_]+\\.sql$`));
    const text = await readFile(new URL(name, folder), "utf8");
    expect(text.match(/^-- migrate:up/gm)).toHaveLength(1);
  }
});

test("an address that is none, and a server that is not there, are told apart", async () => {
  await expect(open("mysql://localhost/x")).rejects.toMatchObject({ code: "INVALID_SETTING" });
  await expect(open("postgres://treadle@/x?host=/nonexistent")).rejects.toMatchObject({ code: "STORAGE_UNAVAILABLE" });
});

test("connections that the server cuts are replaced, and what was buffered is written", async () => {
  const databaseUrl = await server.newDatabase();
  await using store = await open(databaseUrl);
  await using connection = await client(databaseUrl);
  const execution = sampleExecution("w");
  await store.executions.flush();
  store.executions.record(sampleExecution("w"));
  await store.executions.flush();
  const cut = await connection.query(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
  );
  expect(cut.rowCount).toBeGreaterThanOrEqual(1);
  store.executions.record(execution);
  await expect.poll(() => store.executions.flush().then(() => store.executions.stats().buffered), { timeout: 10_000 }).toBe(0);
  expect(await store.executions.get(execution.id)).toEqual(execution);
  expect(store.executions.stats()).toMatchObject({ written: 2, dropped: 0, rejected: 0 });
});
