// What the server is told by its environment, read once and before user code.

export const MAX_BODY_BYTES = 20 * 1024 * 1024;
/** What a timer can wait for. */
const MAX_TIMEOUT_SECONDS = 2_147_483;
const LOG_ID = /^[A-Za-z0-9_-]{1,64}$/;

/** `platform`: see serve.js. The secret is taken out of the environment: it is the caller's, not user code's. */
export function readSettings(platform, environment, defaultEntrypoint) {
  const logFolder = environment.TREADLE_LOGS || "/mnt/logs";
  const settings = {
    port: Number(environment.PORT || 3000),
    socket: environment.TREADLE_SOCKET || null,
    code: environment.TREADLE_CODE || "/usr/local/server/src/function",
    script: environment.TREADLE_CONTRACT === "script",
    entrypoint: environment.OPEN_RUNTIMES_ENTRYPOINT || defaultEntrypoint,
    secret: environment.OPEN_RUNTIMES_SECRET || "",
    enforcedHeaders: enforcedHeaders(environment.OPEN_RUNTIMES_HEADERS),
    development: environment.OPEN_RUNTIMES_ENV === "development",
    logFolder: platform.isFolder(logFolder) ? logFolder : null,
    timings: environment.TREADLE_TIMINGS || "/mnt/telemetry/timings.txt",
  };
  delete environment.OPEN_RUNTIMES_SECRET;
  return settings;
}

/** Headers that every request has, whatever the caller sent: names and values. */
function enforcedHeaders(text) {
  if (text === undefined || text === "") return [];
  return Object.entries(JSON.parse(text)).map(([name, value]) => [name.toLowerCase(), `${value}`]);
}

/** What the runtime's own headers of a request ask for, or why they are refused. */
export function readControl(headers, settings) {
  if (settings.secret !== "" && !isSecret(headers["x-open-runtimes-secret"] ?? "", settings.secret)) {
    return { refusal: 'Unauthorized. Provide correct "x-open-runtimes-secret" header.' };
  }
  const timeout = headers["x-open-runtimes-timeout"] ?? "";
  const timeoutSeconds = timeout === "" ? 0 : Number(timeout);
  if (timeout !== "" && !(/^\d+$/.test(timeout) && timeoutSeconds > 0 && timeoutSeconds <= MAX_TIMEOUT_SECONDS)) {
    return { refusal: 'Header "x-open-runtimes-timeout" must be an integer greater than 0.' };
  }
  const logging = headers["x-open-runtimes-logging"] || "enabled";
  if (logging !== "enabled" && logging !== "disabled") {
    return { refusal: 'Header "x-open-runtimes-logging" must be either "enabled" or "disabled".' };
  }
  const asked = headers["x-open-runtimes-log-id"] ?? "";
  const id = LOG_ID.test(asked) ? asked : settings.development ? "dev" : newLogId();
  return { refusal: null, timeoutSeconds, logging: logging === "enabled", id };
}

/** Equal, in a time that does not tell where they differ. */
function isSecret(given, secret) {
  let difference = given.length ^ secret.length;
  for (let i = 0; i < given.length; i++) difference |= given.charCodeAt(i) ^ secret.charCodeAt(i % secret.length);
  return difference === 0;
}

/** 20 characters that name the log of one request. */
function newLogId() {
  let id = "";
  while (id.length < 20) id += Math.floor(Math.random() * 36).toString(36);
  return id;
}
