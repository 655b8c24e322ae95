/** What every error of one code has in common. */
export interface ErrorDefinition {
  /** HTTP status the API answers with. */
  readonly status: number;
  /** One sentence: when this code is given. Becomes its entry in docs/reference/errors.md. */
  readonly when: string;
  /** One sentence: what the reader can do about it. */
  readonly remedy: string;
}

/**
 * Every error a user can meet, by its stable code. Codes are never renamed or reused.
 * The documentation page docs/reference/errors.md is checked against this list.
 */
export const ERROR_CATALOGUE = {
  BAD_REQUEST: {
    status: 400,
    when: "The request is malformed: not JSON, a field missing, of the wrong type, too long, or not allowed.",
    remedy: "Compare the request with the reference page of the route; the message names the field.",
  },
  BODY_TOO_LARGE: {
    status: 413,
    when: "The request body is larger than REQUEST_MAX_SIZE, or than the function's limit requestBytes.",
    remedy: "Send less, or raise the limit that the message names.",
  },
  UPGRADE_UNSUPPORTED: {
    status: 501,
    when: "A request to a function asks to leave HTTP for another protocol, such as WebSocket.",
    remedy: "Use plain requests; server-sent events for what the function has to say over time.",
  },
  UNSUPPORTED_MEDIA_TYPE: {
    status: 415,
    when: "The body is of a content type the route does not take.",
    remedy: "Send JSON with the header Content-Type: application/json.",
  },
  UNAUTHORIZED: {
    status: 401,
    when: "The server asks for a key, and none was sent or it is wrong.",
    remedy: "Send the header Authorization: Bearer KEY.",
  },
  FOREIGN_HOST: {
    status: 403,
    when: "A request on the loopback address names a host that is not this machine (DNS rebinding).",
    remedy: "Call the server by localhost, 127.0.0.1 or [::1], or set an admin key and a listen address.",
  },
  CROSS_ORIGIN: {
    status: 403,
    when: "A web page of another origin sent the request.",
    remedy: "Call Treadle from a program or from its own pages.",
  },
  ROUTE_NOT_FOUND: {
    status: 404,
    when: "No route has this method and path.",
    remedy: "See /openapi.json for the routes.",
  },
  UNKNOWN_WORKSPACE: {
    status: 404,
    when: "There is no workspace of this name.",
    remedy: "Create it by saving functions into it, or check the spelling.",
  },
  UNKNOWN_FUNCTION: {
    status: 404,
    when: "The workspace has no function of this name.",
    remedy: "List the workspace's functions, or check the spelling.",
  },
  UNKNOWN_EXECUTION: {
    status: 404,
    when: "There is no execution of this id, or retention has removed it.",
    remedy: "List the executions; raise the retention settings to keep them longer.",
  },
  UNKNOWN_DEPLOYMENT: {
    status: 404,
    when: "The function has no such deployment or alias (any more).",
    remedy: "List the function's deployments and aliases.",
  },
  UNKNOWN_VARIABLE: {
    status: 404,
    when: "There is no variable or secret of this name.",
    remedy: "List the variables of the workspace or function.",
  },
  UNKNOWN_SCHEDULE: {
    status: 404,
    when: "The function has no schedule of this name.",
    remedy: "List the function's schedules.",
  },
  UNKNOWN_DOMAIN: {
    status: 404,
    when: "No function answers for this host name.",
    remedy: "List the domains, or add this one.",
  },
  NOT_DEPLOYED: {
    status: 409,
    when: "The function has no active deployment, or the deployment named is not ready.",
    remedy: "Wait for the build, see why it failed, or activate another deployment.",
  },
  BAD_ARCHIVE: {
    status: 400,
    when: "The source is no tar, tar.gz or zip, is damaged, or has entries that may not be in one: paths or links that lead out, devices, too many files, far more bytes than it claims.",
    remedy: "Pack the source folder anew; the message names the entry.",
  },
  SOURCE_TOO_LARGE: {
    status: 413,
    when: "The source has more bytes than TREADLE_SOURCE_MAX_SIZE.",
    remedy: "Leave out what can be fetched at build, or raise the setting.",
  },
  SOURCE_UNAVAILABLE: {
    status: 424,
    when: "The git repository could not be read, or its host is not among TREADLE_GIT_HOSTS.",
    remedy: "Check address and reference; ask the operator to allow the host.",
  },
  BUILD_FAILED: {
    status: 422,
    when: "A build step failed, ran into a limit, or made nothing that can be started.",
    remedy: "Read the build's log; the message names the step and the limit.",
  },
  UNRESOLVED_SECRET: {
    status: 422,
    when: "A function needs a secret or variable that neither it nor its workspace has.",
    remedy: "Set it with `treadle secret set`, then activate the deployment again.",
  },
  SECRET_UNREADABLE: {
    status: 503,
    when: "A secret was sealed with another key than the server has now.",
    remedy: "Start the server with the key it was sealed with, or set the secret again.",
  },
  CONCURRENCY_LIMIT: {
    status: 429,
    when: "The function runs as many executions as its limit allows and rejects more.",
    remedy: "Try again later, raise the limit, or let calls queue.",
  },
  NOT_REPLAYABLE: {
    status: 409,
    when: "The input of the execution was not kept whole.",
    remedy: "Call the function with the input, or raise the limit of what records keep.",
  },
  UNKNOWN_RUNTIME: {
    status: 400,
    when: "The function names a language or runtime that this server does not have.",
    remedy: "See GET /api/v1/runtimes for what it has; `treadle doctor` says how to get the others.",
  },
  UNKNOWN_FILE: {
    status: 404,
    when: "The workspace has no file of this id (any more).",
    remedy: "List the workspace's files.",
  },
  UNKNOWN_BUNDLE: {
    status: 404,
    when: "The workspace has no bundle of this id (any more).",
    remedy: "List the workspace's bundles.",
  },
  UNKNOWN_UPLOAD: {
    status: 404,
    when: "There is no upload of this id: it has expired, was given up, or another process of the server holds it.",
    remedy: "Start the upload anew.",
  },
  UNKNOWN_IMPORT: {
    status: 404,
    when: "The workspace has no import of this id.",
    remedy: "List the workspace's imports.",
  },
  FILE_TOO_LARGE: {
    status: 413,
    when: "A file is larger than TREADLE_FILE_MAX_SIZE.",
    remedy: "Split it, or raise TREADLE_FILE_MAX_SIZE.",
  },
  QUOTA_EXCEEDED: {
    status: 413,
    when: "The workspace's files, with those being uploaded, would take more than its quota.",
    remedy: "Remove files, or raise the workspace's quota.",
  },
  CHECKSUM_MISMATCH: {
    status: 422,
    when: "The bytes that came do not have the size or checksum that was promised; nothing was kept.",
    remedy: "Send or fetch them again; if it stays so, the promise is wrong.",
  },
  RANGE_NOT_SATISFIABLE: {
    status: 416,
    when: "The range asked for lies outside the file.",
    remedy: "Ask for bytes below the file's size, which the answer names.",
  },
  FILE_DAMAGED: {
    status: 502,
    when: "Storage has lost the file's bytes, or gives others than were put there.",
    remedy: "Put the same bytes once more, by any upload: that mends every file that has them.",
  },
  LINK_REFUSED: {
    status: 403,
    when: "A link to a file has expired or was tampered with.",
    remedy: "Ask for a new link.",
  },
  IMPORT_FAILED: {
    status: 424,
    when: "A file could not be brought from its address: it cannot be reached, is not allowed, or did not answer as expected.",
    remedy: "See the message; the address must be public, or be named in TREADLE_IMPORT_TRUSTED.",
  },
  CONFLICT: {
    status: 409,
    when: "The change was made against a state that is no longer the current one.",
    remedy: "Read the current state and make the change again.",
  },
  INVALID_PARAMETERS: {
    status: 400,
    when: "The arguments of a call do not fit the function's parameter schema; user code did not run.",
    remedy: "Correct the arguments; the details name each one.",
  },
  INVALID_SCHEMA: {
    status: 400,
    when: "A function's parameter schema is not a valid JSON Schema, or asks for something too expensive to check.",
    remedy: "Correct the schema; the message names the function and the place.",
  },
  SYNTAX_ERROR: {
    status: 400,
    when: "A function's code does not parse. The function, line and column are given; other functions are untouched.",
    remedy: "Correct the code at that place and save it again.",
  },
  IMPORT_DENIED: {
    status: 400,
    when: "The code loads a built-in module or a package that is not allowed.",
    remedy: "Allow it (NODE_BUILTIN_MODULES, or the dependency lists), or do without.",
  },
  MODULE_NOT_FOUND: {
    status: 400,
    when: "The code loads a package that is not installed in its workspace.",
    remedy: "Add it to the workspace's dependencies.",
  },
  INSTALL_FAILED: {
    status: 424,
    when: "The workspace's dependencies could not be installed; the reason is in the details and the install log.",
    remedy: "Correct the dependency list or the registry settings; the next save or call tries again.",
  },
  LOAD_FAILED: {
    status: 424,
    when: "The function's code threw, hung or had no usable entry point while it was being loaded.",
    remedy: "See the details; correct what runs at the top level of the code.",
  },
  QUEUE_FULL: {
    status: 429,
    when: "More calls wait for this function than its queue takes.",
    remedy: "Call again later, or raise the function's concurrency or queue length.",
  },
  SERVER_BUSY: {
    status: 503,
    when: "The server is starting, stopping, or has no room for another instance.",
    remedy: "Call again in a moment.",
  },
  TIMED_OUT: {
    status: 504,
    when: "The call took longer than its time limit and was ended.",
    remedy: "Make it faster, or raise the time limit.",
  },
  OUT_OF_MEMORY: {
    status: 507,
    when: "The function's process used more memory than its limit and was killed.",
    remedy: "Use less memory, or raise the memory limit.",
  },
  CRASHED: {
    status: 502,
    when: "The function's process ended during the call: it exited, was killed, or ran into a fault of its own.",
    remedy: "See the exit status and the last lines of its error output in the details.",
  },
  INTERRUPTED: {
    status: 503,
    when: "The process running the call had to be stopped for a cause that was not this call's.",
    remedy: "The call may have run in part; call again if that is safe.",
  },
  THREW: {
    status: 500,
    when: "User code threw. Name, message and stack are in the details, in the user's own lines.",
    remedy: "Correct the function.",
  },
  HANDLER_FAILED: {
    status: 502,
    when: "A handler function answered an asynchronous or scheduled execution with a status of 500 or above.",
    remedy: "See the response, which is the execution's output, and its log; ask for retries where a later attempt may succeed.",
  },
  RESULT_NOT_SERIALIZABLE: {
    status: 422,
    when: "The function's result cannot be written as JSON (a cycle, a BigInt, an object without JSON form).",
    remedy: "Return plain JSON values.",
  },
  RESULT_TOO_LARGE: {
    status: 413,
    when: "The function's result is larger than the limit.",
    remedy: "Return less, or raise the result limit.",
  },
  LOG_TRUNCATED: {
    status: 200,
    when: "Marks the place in an execution's log after which lines were dropped because the log reached its limit.",
    remedy: "Log less, or raise the log limit.",
  },
  INVALID_RESPONSE: {
    status: 502,
    when: "The function's process answered with something that is not a valid answer.",
    remedy: "Code in the function interferes with the runtime's channel; remove it.",
  },
  CANCELLED: {
    status: 499,
    when: "The caller cancelled the call or went away before it ended.",
    remedy: "Nothing, if that was meant.",
  },
  SANDBOX_UNAVAILABLE: {
    status: 503,
    when: "The sandbox cannot be built on this machine, so no user code is run.",
    remedy: "Run `treadle doctor`; it names what is missing and the command that mends it.",
  },
  DATA_DIRECTORY_LOCKED: {
    status: 503,
    when: "Another Treadle uses the same data directory.",
    remedy: "Stop it, or choose another directory with --data-dir.",
  },
  INVALID_SETTING: {
    status: 500,
    when: "A flag or environment variable has a value that cannot be used; the server does not start.",
    remedy: "See docs/reference/settings.md for the values it takes.",
  },
  INVALID_DEPLOYMENT: {
    status: 400,
    when: "A folder to deploy has no treadle.yaml, a faulty one, or names files that cannot be taken.",
    remedy: "Correct it at the place the message names; docs/reference/treadle-yaml.md describes the file.",
  },
  SERVER_UNREACHABLE: {
    status: 503,
    when: "The command line got no answer from a Treadle server at the address it was given.",
    remedy: "Start one with `treadle serve`, or name its address with --server or TREADLE_SERVER.",
  },
  STORAGE_UNAVAILABLE: {
    status: 503,
    when: "The database or the disk refused the change (full disk, lost connection); nothing was acknowledged.",
    remedy: "Free space or mend the connection, then make the change again.",
  },
  INTERNAL: {
    status: 500,
    when: "A defect in Treadle itself.",
    remedy: "Report it with the request id; the server's log has the cause.",
  },
} as const satisfies Record<string, ErrorDefinition>;

/** A stable error code. */
export type ErrorCode = keyof typeof ERROR_CATALOGUE;
