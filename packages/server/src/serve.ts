import { mkdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { join, resolve } from "node:path";
import { TreadleError } from "@treadle/errors";
import { openFiles } from "@treadle/files";
import { createDependencyInstaller, Functions, Jobs, openBuilds } from "@treadle/functions";
import { findRuntimes } from "@treadle/runtimes";
import { createSandboxDriver } from "@treadle/sandbox";
import { openStore } from "@treadle/store";
import { pino } from "pino";
import { buildApp } from "./app.ts";
import { Domains } from "./domains.ts";
import { Executor } from "./executor/executor.ts";
import { ExecutorStorage } from "./executor/executor-storage.ts";
import { adminKeyOf } from "./security/admin-key.ts";
import { createGuard } from "./security/guard.ts";
import { openSecretKey } from "./security/secret-key.ts";
import { buildSettings } from "./settings/build-settings.ts";
import { filesSettings } from "./settings/files-settings.ts";
import { dependencySettings, functionsSettings } from "./settings/functions-settings.ts";
import { jobsSettings } from "./settings/jobs-settings.ts";
import type { Settings } from "./settings/settings.ts";
import { updateScripts } from "./update-scripts.ts";

/** A running server. */
export interface RunningServer extends AsyncDisposable {
  /** `http://127.0.0.1:4000` */
  readonly url: string;
  /** Stops taking calls, lets those under way end within the limit, writes what is buffered, and stops everything it started. */
  close(): Promise<void>;
}

/**
 * Starts the whole of Treadle in this process: database, sandbox driver, functions, HTTP.
 * @throws INVALID_SETTING, DATA_DIRECTORY_LOCKED, STORAGE_UNAVAILABLE, SANDBOX_UNAVAILABLE
 */
export async function serve(settings: Settings): Promise<RunningServer> {
  const key = adminKeyOf(settings);
  const log = pino(
    { level: settings.logLevel, redact: ["req.headers.authorization", "headers.authorization"] },
    pino.destination({ dest: 2, sync: true }),
  );
  const warn = (message: string, fields: object = {}) => log.warn(fields, message);
  const dataDirectory = resolve(settings.dataDirectory);
  mkdirSync(dataDirectory, { recursive: true, mode: 0o700 });
  await using parts = new AsyncDisposableStack();

  // Before the database: where the driver takes over our control group, the database must be started inside what it made of it.
  const driver = parts.use(await createSandboxDriver(settings.sandbox, { stateDirectory: join(dataDirectory, "sandbox"), warn }));
  const store = parts.use(
    await openStore({
      dataDirectory,
      ...(settings.databaseUrl === null ? {} : { databaseUrl: settings.databaseUrl }),
      ...(settings.databaseEngine === null ? {} : { engine: settings.databaseEngine }),
      retention: {
        executionAgeMs: settings.retentionDays * 86_400_000,
        executionsPerWorkspace: settings.retentionCount,
        versionsPerFunction: settings.versionsKept,
      },
      log: (level, message, fields) => log[level](fields ?? {}, message),
    }),
  );
  const secretKey = openSecretKey(settings.secretKey, dataDirectory);
  const files = parts.use(
    await openFiles({
      ...filesSettings(settings),
      ...{ store, dataDirectory, warn },
      linkKey: secretKey.derive("link signatures"),
      environment: process.env,
    }),
  );
  const runtimes = await findRuntimes();
  if (runtimes.missing.length > 0)
    log.info(
      { languages: runtimes.missing.map(({ language }) => language) },
      "languages that are not on this machine (treadle doctor says how to get them)",
    );
  const installer = createDependencyInstaller({
    driver,
    runtimes: runtimes.available,
    directory: join(dataDirectory, "dependencies"),
    settings: dependencySettings(settings),
    warn,
    environment: settings.npmRegistry === null ? process.env : { ...process.env, NPM_CONFIG_REGISTRY: settings.npmRegistry },
  });
  await installer.sweep();
  const builds = parts.use(
    await openBuilds({
      ...{ store, files, driver, runtimes, installer, dataDirectory, warn },
      settings: buildSettings(settings),
    }),
  );
  const functions = parts.use(
    new Functions({
      ...{ store, files, driver, runtimes, installer, builds, warn },
      secretsKey: secretKey.derive("secrets"),
      filesDirectory: join(dataDirectory, "placed"),
      settings: functionsSettings(settings),
    }),
  );
  if (settings.updateScripts) {
    const { saved, unchanged, failed } = await updateScripts(dataDirectory, functions);
    log.info({ saved, unchanged: unchanged.length }, "functions of workspace.yaml files are in step");
    for (const { workspace, reason } of failed) warn(`workspace.yaml of ${workspace} was not taken over: ${reason}`);
  }
  const jobs = parts.use(
    new Jobs({
      ...{ store, files, functions, warn },
      settings: jobsSettings(settings),
      callbackSecret: secretKey.derive("callback signatures"),
    }),
  );
  const app = await buildApp({
    ...{ functions, jobs, store, files, settings },
    domains: await Domains.open(store, settings.publicUrl),
    executor: new Executor(functions, new ExecutorStorage(settings.executorStorage ?? join(dataDirectory, "executor"))),
    guard: createGuard(key),
    log,
    version: await ownVersion(),
    requestMaxBytes: settings.requestMaxBytes,
  });
  try {
    await app.listen({ host: settings.host, port: settings.port });
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (!["EADDRINUSE", "EACCES", "EADDRNOTAVAIL", "ENOTFOUND"].includes(code)) throw error;
    const reason = code === "EADDRINUSE" ? "another program listens there" : (error as Error).message;
    throw new TreadleError("INVALID_SETTING", `Cannot listen on ${settings.host}, port ${settings.port}: ${reason}.`, {
      cause: error,
    });
  }
  void functions.prewarm();
  functions.resume();

  const owned = parts.move();
  let closing: Promise<void> | undefined;
  const close = async () => {
    const listening = app.close();
    jobs.stop();
    await functions.drain(settings.shutdownTimeoutMs);
    app.server.closeIdleConnections();
    await Promise.race([listening, new Promise((done) => setTimeout(done, 1_000).unref())]);
    app.server.closeAllConnections();
    await listening;
    await owned.disposeAsync();
  };
  const { port } = app.server.address() as AddressInfo;
  const host = settings.host.includes(":") ? `[${settings.host}]` : settings.host;
  const server: RunningServer = {
    url: `http://${host}:${port}`,
    close() {
      closing ??= close();
      return closing;
    },
    [Symbol.asyncDispose]: () => server.close(),
  };
  return server;
}

async function ownVersion(): Promise<string> {
  const manifest = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8")) as { version: string };
  return manifest.version;
}
