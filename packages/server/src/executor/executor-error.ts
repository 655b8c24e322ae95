/** Errors of the Open Runtimes executor by their type: status and usual message. */
const ERRORS = {
  general_unknown: [500, "Internal server error."],
  general_route_not_found: [404, "The requested route was not found."],
  general_unauthorized: [401, "Missing executor key"],
  build_failed: [400, "Build failed."],
  runtime_failed: [400, "Runtime failed."],
  runtime_timeout: [400, "Timed out waiting for runtime."],
  runtime_not_found: [404, "Runtime not found"],
  runtime_conflict: [409, "Runtime already exists"],
  execution_bad_request: [400, "Execution request was invalid."],
  execution_bad_json: [
    400,
    'Execution resulted in binary response, but JSON response does not allow binaries. Use "Accept: multipart/form-data" header to support binaries.',
  ],
  command_failed: [400, "Failed to execute command."],
} as const;

/** An error as callers of the executor know it: `{type, message, code, version}`. */
export class ExecutorError extends Error {
  readonly type: keyof typeof ERRORS;
  readonly status: number;

  constructor(type: keyof typeof ERRORS, message: string = ERRORS[type][1], options?: ErrorOptions) {
    super(message, options);
    this.type = type;
    this.status = ERRORS[type][0];
  }
}
