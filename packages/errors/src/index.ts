export { ERROR_CATALOGUE, type ErrorCode, type ErrorDefinition } from "./catalogue.ts";
export { type ErrorBody, isTreadleError, TreadleError } from "./treadle-error.ts";
