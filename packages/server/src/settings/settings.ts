import { TreadleError } from "@treadle/errors";
import bytes from "bytes";

/** One setting: a flag, an environment variable and a line of docs/reference/settings.md. */
export interface Setting<T> {
  readonly environment: string;
  /** Without the leading dashes. */
  readonly flag: string;
  readonly default: string;
  /** What it is for, one sentence; becomes its line in the reference. */
  readonly description: string;
  /** @throws Error saying what values it takes */
  readonly parse: (text: string) => T;
}

function whole(least: number, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text.trim()) || value < least || value > most)
      throw new Error(`a whole number from ${least}${most === Number.MAX_SAFE_INTEGER ? "" : ` to ${most}`}`);
    return value;
  };
}

function size(text: string): number {
  const value = bytes.parse(text);
  if (value === null || !(value >= 1 && value <= Number.MAX_SAFE_INTEGER) || !/^\s*\d/.test(text))
    throw new Error('a size such as "512kb", "1mb" or a number of bytes');
  return Math.floor(value);
}

/** Cores; `none`: null. */
function cpus(text: string): number | null {
  if (text === "none") return null;
  const value = Number(text);
  if (!(value >= 0.05 && value <= 1_024)) throw new Error('a number from 0.05, or "none"');
  return value;
}

function yes(text: string): boolean {
  if (/^(yes|true|1)$/i.test(text)) return true;
  if (/^(no|false|0|)$/i.test(text)) return false;
  throw new Error('"yes" or "no"');
}

function list(text: string): string[] {
  return text
    .split(",")
    .map((each) => each.trim())
    .filter((each) => each !== "");
}

function oneOf<const T extends string>(...choices: T[]): (text: string) => T {
  return (text) => {
    const found = choices.find((choice) => choice === text);
    if (found === undefined) throw new Error(`one of: ${choices.join(", ")}`);
    return found;
  };
}

/** An http(s) address without path, as `https://host:port`; empty: null. */
function origin(text: string): string | null {
  if (text === "") return null;
  const url = URL.canParse(text) ? new URL(text) : null;
  const bare = url !== null && `${url.origin}/` === url.href && /^https?:$/.test(url.protocol);
  if (!bare) throw new Error("an http(s) address without path, such as https://treadle.example:8443");
  return url.origin;
}

/** 32 bytes written in hex or base64; empty: null. */
function key(text: string): Buffer | null {
  if (text === "") return null;
  const bytes = /^[0-9a-f]{64}$/i.test(text) ? Buffer.from(text, "hex") : Buffer.from(text, "base64");
  if (bytes.length !== 32 || !/^([0-9a-f]{64}|[\w+/-]{43}=?)$/i.test(text)) throw new Error("32 bytes in hex or base64");
  return bytes;
}

const any = (text: string): string => text;
const optional = (text: string): string | null => (text === "" ? null : text);
const SHORTEST_SECRET = 16;

function optionalSecret(text: string): string | null {
  if (text !== "" && text.length < SHORTEST_SECRET) throw new Error(`at least ${SHORTEST_SECRET} characters`);
  return optional(text);
}

function setting<T>(
  environment: string,
  flag: string,
  fallback: string,
  description: string,
  parse: (text: string) => T,
): Setting<T> {
  return { environment, flag, default: fallback, description, parse };
}

/** Every setting of the server, in the order of the reference page. */
export const SETTINGS = {
  port: setting("PORT", "port", "4000", "TCP port of the HTTP server; 0 takes a free one.", whole(0, 65_535)),
  host: setting(
    "TREADLE_HOST",
    "host",
    "127.0.0.1",
    "Address to listen on. Any address that is not loopback needs an admin key.",
    any,
  ),
  dataDirectory: setting(
    "FUNCTIONS_STORAGE_FILESYSTEM_DIRPATH",
    "data-dir",
    "data/functions/",
    "Folder of the embedded database, installed dependencies and the sandboxes' run folders.",
    any,
  ),
  databaseUrl: setting(
    "DATABASE_URL",
    "database-url",
    "",
    "Postgres server (postgres://...) to use instead of the embedded database.",
    optional,
  ),
  databaseEngine: setting(
    "TREADLE_DATABASE_ENGINE",
    "database-engine",
    "",
    "Which Postgres the embedded database runs: `bundled` (from npm) or `system`; empty: bundled where it is installed.",
    (text) => (text === "" ? null : oneOf("bundled", "system")(text)),
  ),
  adminKey: setting(
    "TREADLE_ADMIN_KEY",
    "admin-key",
    "",
    "Key that every request must carry as `Authorization: Bearer KEY`, at least 32 characters. Prefer the environment or the file: flags are visible to other users of the machine.",
    optional,
  ),
  adminKeyFile: setting("TREADLE_ADMIN_KEY_FILE", "admin-key-file", "", "File that holds the admin key.", optional),
  sandbox: setting(
    "TREADLE_SANDBOX",
    "sandbox",
    "bubblewrap",
    "Sandbox driver. `none` runs user code without any protection and says so at every start.",
    oneOf("bubblewrap", "none"),
  ),
  nodeTimeoutMs: setting(
    "FUNCTIONS_RUN_TIMEOUT",
    "run-timeout",
    "20000",
    "Time limit of an execution, ms (Node and every language without a limit of its own).",
    whole(1, 2_147_483_647),
  ),
  pythonTimeoutMs: setting(
    "PYTHON_FUNCTIONS_RUN_TIMEOUT",
    "python-run-timeout",
    "20000",
    "Time limit of a Python execution, ms.",
    whole(1, 2_147_483_647),
  ),
  handlerTimeoutMs: setting(
    "TREADLE_HANDLER_TIMEOUT",
    "handler-timeout",
    "30000",
    "Time limit of a call of a handler or script function that is waited for, ms.",
    whole(1, 2_147_483_647),
  ),
  asyncTimeoutMs: setting(
    "TREADLE_ASYNC_TIMEOUT",
    "async-timeout",
    "900000",
    "Time limit of an async or scheduled execution, ms.",
    whole(1, 2_147_483_647),
  ),
  pythonApiUrl: setting(
    "PYTHON_API_URL",
    "python-api-url",
    "http://localhost:8000",
    "Accepted for compatibility and unused: Python runs in sandboxes of this server.",
    any,
  ),
  maxInstances: setting(
    "FUNCTIONS_WORKERS_MAX_LRU",
    "max-instances",
    "500",
    "Live instances; beyond it the least recently used idle one makes room.",
    whole(1, 100_000),
  ),
  nodeBuiltinModules: setting(
    "NODE_BUILTIN_MODULES",
    "node-builtin-modules",
    "http, https, url, util, zlib, dns, stream, buffer, crypto",
    "Built-in modules that inline Node functions may load; `*`: all. A convenience: the boundary is the sandbox.",
    (text) => (text.trim() === "*" ? null : list(text)),
  ),
  npmRegistry: setting(
    "NPM_CONFIG_REGISTRY",
    "npm-registry",
    "",
    "npm registry; empty: the one npm is configured with.",
    optional,
  ),
  heapMegabytes: setting(
    "NODE_WORKER_MAX_OLD_GENERATION_SIZE_MB",
    "node-heap-mb",
    "100",
    "Bound of the JavaScript heap of a Node instance, MiB.",
    whole(16, 1_048_576),
  ),
  idleSeconds: setting(
    "INACTIVE_NODE_WORKER_DELETION_TIMEOUT",
    "idle-timeout",
    "3600",
    "An instance without calls for this many seconds is stopped.",
    whole(1, 2_000_000),
  ),
  updateScripts: setting(
    "UPDATE_SCRIPTS_ON_STARTUP",
    "update-scripts",
    "no",
    "`yes`: at start, save the functions of every DATA-DIR/WORKSPACE/workspace.yaml that differ from what is stored.",
    yes,
  ),
  requestMaxBytes: setting("REQUEST_MAX_SIZE", "request-max-size", "1mb", "Largest request body.", size),
  prewarmed: setting(
    "TREADLE_PREWARMED",
    "prewarmed",
    "2",
    "Processes kept started per runtime, without user code, for first calls.",
    whole(0, 1_000),
  ),
  waitTimeoutMs: setting(
    "TREADLE_WAIT_TIMEOUT",
    "wait-timeout",
    "60000",
    "How long a call waits for an instance (start, queue, dependency install), ms.",
    whole(1, 2_147_483_647),
  ),
  concurrency: setting("TREADLE_CONCURRENCY", "concurrency", "1000", "Calls one instance works on at a time.", whole(1, 100_000)),
  maxInstancesPerFunction: setting(
    "TREADLE_MAX_INSTANCES_PER_FUNCTION",
    "max-instances-per-function",
    "4",
    "Instances a handler function scales out to (inline workspaces have one, since `cache` is shared).",
    whole(1, 10_000),
  ),
  queueLength: setting(
    "TREADLE_QUEUE_LENGTH",
    "queue-length",
    "5000",
    "Calls that may wait for one function.",
    whole(0, 1_000_000),
  ),
  memoryMegabytes: setting(
    "TREADLE_MEMORY_MB",
    "memory-mb",
    "",
    "Memory limit of an instance with everything in it, MiB; empty: the heap bound plus 156.",
    (text) => (text === "" ? null : whole(32, 1_048_576)(text)),
  ),
  deploymentMemoryMegabytes: setting(
    "TREADLE_DEPLOYMENT_MEMORY_MB",
    "deployment-memory-mb",
    "512",
    "Memory limit of an instance of a built deployment that has none of its own, MiB.",
    whole(32, 1_048_576),
  ),
  processes: setting("TREADLE_PROCESSES", "processes", "128", "Processes and threads of an instance.", whole(16, 100_000)),
  cpus: setting("TREADLE_CPUS", "cpus", "1", "CPU ceiling of an instance in cores, e.g. 0.5; `none`: no ceiling.", cpus),
  scratchBytes: setting(
    "TREADLE_SCRATCH_SIZE",
    "scratch-size",
    "64mb",
    "Size of an instance's /tmp; it counts to its memory.",
    size,
  ),
  openFiles: setting("TREADLE_OPEN_FILES", "open-files", "1024", "Open files of a process in an instance.", whole(64, 1_048_576)),
  functionRequestMaxBytes: setting(
    "TREADLE_FUNCTION_REQUEST_MAX_SIZE",
    "function-request-max-size",
    "20mb",
    "Largest body of a request to a handler or script function, where it has no `requestBytes` of its own.",
    size,
  ),
  versionsKept: setting(
    "TREADLE_VERSIONS_KEPT",
    "versions-kept",
    "50",
    "Versions kept of a function; older ones go, but for the active one and those with an alias.",
    whole(1, 100_000),
  ),
  resultMaxBytes: setting("TREADLE_RESULT_MAX_SIZE", "result-max-size", "6mb", "Largest result of an inline function.", size),
  logMaxBytes: setting(
    "TREADLE_LOG_MAX_SIZE",
    "log-max-size",
    "1mb",
    "All log text of one execution; what is beyond is dropped with a note.",
    size,
  ),
  logEntryCharacters: setting(
    "TREADLE_LOG_ENTRY_MAX",
    "log-entry-max",
    "8000",
    "Longest log entry, characters; longer ones are cut.",
    whole(100, 1_000_000),
  ),
  recordMaxCharacters: setting(
    "TREADLE_RECORD_MAX",
    "record-max",
    "8192",
    "Input and output kept with an execution's record are cut to this many characters.",
    whole(0, 10_000_000),
  ),
  retentionDays: setting(
    "TREADLE_RETENTION_DAYS",
    "retention-days",
    "7",
    "Executions older than this are deleted.",
    whole(1, 36_500),
  ),
  retentionCount: setting(
    "TREADLE_RETENTION_COUNT",
    "retention-count",
    "100000",
    "Executions kept per workspace; older ones beyond it are deleted.",
    whole(1, 1_000_000_000),
  ),
  dependenciesAllow: setting(
    "TREADLE_DEPENDENCIES_ALLOW",
    "dependencies-allow",
    "",
    "Packages that may be installed, as patterns with `*`; empty: all that are not denied.",
    list,
  ),
  dependenciesDeny: setting(
    "TREADLE_DEPENDENCIES_DENY",
    "dependencies-deny",
    "",
    "Packages that may not be installed, as patterns with `*`.",
    list,
  ),
  dependenciesScripts: setting(
    "TREADLE_DEPENDENCIES_SCRIPTS",
    "dependencies-scripts",
    "no",
    "`yes`: packages may run install scripts and build from source, in the install's sandbox.",
    yes,
  ),
  dependenciesHosts: setting(
    "TREADLE_DEPENDENCIES_HOSTS",
    "dependencies-hosts",
    "",
    "Further hosts (`host` or `host:port`) that the registries send downloads to.",
    list,
  ),
  dependenciesInfer: setting(
    "TREADLE_DEPENDENCIES_INFER",
    "dependencies-infer",
    "yes",
    "`yes`: packages that code imports and no manifest names are added to the workspace's dependencies.",
    yes,
  ),
  sourceMaxBytes: setting(
    "TREADLE_SOURCE_MAX_SIZE",
    "source-max-size",
    "4gb",
    "Largest source of a build, packed and unpacked.",
    size,
  ),
  sourceMaxFiles: setting(
    "TREADLE_SOURCE_MAX_FILES",
    "source-max-files",
    "10000",
    "Most files of a source; as many folders may be in it.",
    whole(1, 1_000_000),
  ),
  gitHosts: setting(
    "TREADLE_GIT_HOSTS",
    "git-hosts",
    "github.com, gitlab.com, bitbucket.org, codeberg.org",
    "Hosts (`host` or `host:port`) that sources may be fetched from with git; none: empty.",
    list,
  ),
  gitTrusted: setting(
    "TREADLE_GIT_TRUSTED",
    "git-trusted",
    "",
    "Git servers (`host:port`) of yours that sources may be fetched from though their address is not public, or without TLS.",
    list,
  ),
  buildConcurrency: setting(
    "TREADLE_BUILD_CONCURRENCY",
    "build-concurrency",
    "",
    "Builds at work at the same time; empty: half as many as the machine has cores.",
    (text) => (text === "" ? null : whole(1, 1_000)(text)),
  ),
  buildMemoryMegabytes: setting(
    "TREADLE_BUILD_MEMORY_MB",
    "build-memory-mb",
    "2048",
    "Memory limit of a build's step with its /tmp, MiB.",
    whole(64, 1_048_576),
  ),
  buildTimeoutSeconds: setting(
    "TREADLE_BUILD_TIMEOUT",
    "build-timeout",
    "900",
    "Time limit of a build, seconds.",
    whole(1, 86_400),
  ),
  buildCpus: setting("TREADLE_BUILD_CPUS", "build-cpus", "none", "CPU ceiling of a build in cores; `none`: no ceiling.", cpus),
  buildDiskBytes: setting(
    "TREADLE_BUILD_DISK_SIZE",
    "build-disk-size",
    "4gb",
    "Disk that a build may take besides its source.",
    size,
  ),
  buildProcesses: setting(
    "TREADLE_BUILD_PROCESSES",
    "build-processes",
    "512",
    "Processes and threads of a build's step.",
    whole(16, 100_000),
  ),
  buildLogBytes: setting(
    "TREADLE_BUILD_LOG_MAX_SIZE",
    "build-log-max-size",
    "10mb",
    "Log of a build; what is beyond is dropped with a note.",
    size,
  ),
  artifactMaxBytes: setting(
    "TREADLE_ARTIFACT_MAX_SIZE",
    "artifact-max-size",
    "1gb",
    "Largest layer of a build: what it fetched, and what it made, unpacked.",
    size,
  ),
  layersBytes: setting(
    "TREADLE_LAYERS_SIZE",
    "layers-size",
    "10gb",
    "Unpacked layers of builds kept on this machine; beyond it those not used for longest go.",
    size,
  ),
  storageUrl: setting(
    "TREADLE_STORAGE_URL",
    "storage-url",
    "",
    "Where files lie: `file:///folder`, `s3://bucket/prefix?region=..&endpoint=..`, `gs://bucket/prefix` or `azblob://container/prefix`; empty: DATA-DIR/files.",
    optional,
  ),
  filesQuota: setting(
    "TREADLE_FILES_QUOTA",
    "files-quota",
    "100gb",
    "What the files of a workspace may add up to, where it has no quota of its own; `none`: unlimited.",
    (text) => (text === "none" ? null : size(text)),
  ),
  fileMaxBytes: setting("TREADLE_FILE_MAX_SIZE", "file-max-size", "50gb", "Largest file.", size),
  uploadExpiryHours: setting(
    "TREADLE_UPLOAD_EXPIRY",
    "upload-expiry",
    "24",
    "A resumable upload without progress for this many hours is given up.",
    whole(1, 8_760),
  ),
  fileCopiesBytes: setting(
    "TREADLE_FILE_COPIES_SIZE",
    "file-copies-size",
    "10gb",
    "Copies of files in a cloud that are kept on this machine for sandboxes.",
    size,
  ),
  importTrusted: setting(
    "TREADLE_IMPORT_TRUSTED",
    "import-trusted",
    "",
    "Hosts (`host:port`) that imports may reach though their address is not public.",
    list,
  ),
  linkSeconds: setting(
    "TREADLE_LINK_EXPIRY",
    "link-expiry",
    "900",
    "How long a link to a file works unless the request says, seconds.",
    whole(1, 604_800),
  ),
  publicUrl: setting(
    "TREADLE_PUBLIC_URL",
    "public-url",
    "",
    "Address under which others reach the server, e.g. `https://treadle.example`, for links it gives out; empty: the one a request came by.",
    origin,
  ),
  drsProfile: setting(
    "TREADLE_DRS_PROFILE",
    "drs-profile",
    "1.5",
    "Version of the GA4GH Data Repository Service whose form its answers have; 1.2 for clients that take no later fields.",
    oneOf("1.5", "1.2"),
  ),
  drsServiceId: setting(
    "TREADLE_DRS_SERVICE_ID",
    "drs-service-id",
    "org.treadle.local",
    "Id in the DRS service-info: a reversed domain name of yours.",
    any,
  ),
  organizationName: setting(
    "TREADLE_ORGANIZATION_NAME",
    "organization-name",
    "Treadle",
    "Who runs the server, in the DRS service-info.",
    any,
  ),
  organizationUrl: setting(
    "TREADLE_ORGANIZATION_URL",
    "organization-url",
    "",
    "Their page, in the DRS service-info; empty: the server's own address.",
    optional,
  ),
  secretKey: setting(
    "TREADLE_SECRET_KEY",
    "secret-key",
    "",
    "Key that signs links: 32 bytes in hex or base64 (`openssl rand -hex 32`). Empty: that of DATA-DIR/secret.key, made at the first start. Processes that share a database need the same one. Prefer the environment: flags are visible to other users of the machine.",
    key,
  ),
  executorSecret: setting(
    "TREADLE_EXECUTOR_SECRET",
    "executor-secret",
    "",
    "Secret of the Open Runtimes executor API at /v1/runtimes; at least 16 characters. Empty: there is no such API. Prefer the environment.",
    optionalSecret,
  ),
  executorStorage: setting(
    "TREADLE_EXECUTOR_STORAGE",
    "executor-storage",
    "",
    "Folder that the executor API takes sources from and puts artifacts into: its callers' paths are paths below it. Empty: DATA-DIR/executor.",
    optional,
  ),
  asyncConcurrency: setting(
    "TREADLE_ASYNC_CONCURRENCY",
    "async-concurrency",
    "64",
    "Asynchronous and scheduled executions that one server works on at a time; more wait in the queue.",
    whole(1, 10_000),
  ),
  idempotencyHours: setting(
    "TREADLE_IDEMPOTENCY_HOURS",
    "idempotency-hours",
    "24",
    "How long an idempotency key stands for the execution it was first used for.",
    whole(1, 8_760),
  ),
  callbackTrusted: setting(
    "TREADLE_CALLBACK_TRUSTED",
    "callback-trusted",
    "",
    "Hosts (`host:port`) that callbacks may go to though their address is not public.",
    list,
  ),
  shutdownTimeoutMs: setting(
    "TREADLE_SHUTDOWN_TIMEOUT",
    "shutdown-timeout",
    "25000",
    "How long a stopping server waits for calls under way, ms.",
    whole(0, 3_600_000),
  ),
  logLevel: setting(
    "TREADLE_LOG_LEVEL",
    "log-level",
    "info",
    "Least level of the server's own log on stderr.",
    oneOf("trace", "debug", "info", "warn", "error", "fatal", "silent"),
  ),
} as const;

/** The values of all settings. */
export type Settings = { readonly [Key in keyof typeof SETTINGS]: ReturnType<(typeof SETTINGS)[Key]["parse"]> };

/**
 * Reads all settings; a flag beats the environment, which beats the default.
 * @throws INVALID_SETTING naming the setting and the values it takes
 */
export function readSettings(
  environment: Readonly<Record<string, string | undefined>>,
  flags: Readonly<Record<string, string | undefined>> = {},
): Settings {
  const values: Record<string, unknown> = {};
  for (const [key, each] of Object.entries(SETTINGS)) {
    const fromFlag = flags[each.flag];
    const text = fromFlag ?? environment[each.environment] ?? each.default;
    try {
      values[key] = each.parse(text);
    } catch (error) {
      const name = fromFlag === undefined ? each.environment : `--${each.flag}`;
      const shown = /key/i.test(key) ? "its value" : JSON.stringify(text.slice(0, 80));
      throw new TreadleError(
        "INVALID_SETTING",
        `${name}: ${shown} is not ${error instanceof Error ? error.message : "a value it takes"}.`,
        {
          details: { setting: name },
        },
      );
    }
  }
  return values as Settings;
}
