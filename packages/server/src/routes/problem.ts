import { isTreadleError, TreadleError } from "@treadle/errors";

/** Fastify's own errors by code, as errors of the catalogue. */
const FASTIFY_CODES: Readonly<Record<string, "BODY_TOO_LARGE" | "UNSUPPORTED_MEDIA_TYPE" | "BAD_REQUEST">> = {
  FST_ERR_CTP_BODY_TOO_LARGE: "BODY_TOO_LARGE",
  FST_ERR_CTP_INVALID_MEDIA_TYPE: "UNSUPPORTED_MEDIA_TYPE",
};

/** The catalogue's error for anything a route threw; a defect of ours becomes INTERNAL without its inner words. */
export function problemOf(error: unknown): TreadleError {
  if (isTreadleError(error)) return error;
  const { code, statusCode, message, validation } = (typeof error === "object" && error !== null ? error : {}) as {
    code?: unknown;
    statusCode?: unknown;
    message?: unknown;
    validation?: readonly { instancePath?: string; message?: string }[];
  };
  if (Array.isArray(validation)) {
    const faults = validation.map((fault) => ({
      path: String(fault.instancePath ?? ""),
      message: String(fault.message ?? "is not valid"),
    }));
    const first = faults[0];
    const where = first?.path.replace(/^\//, "").replaceAll("/", ".");
    return new TreadleError(
      "BAD_REQUEST",
      `The request does not have the form of this route: ${where ? `${where}: ` : ""}${first?.message ?? ""}.`,
      {
        details: { errors: faults.slice(0, 20) },
      },
    );
  }
  const known = typeof code === "string" ? FASTIFY_CODES[code] : undefined;
  if (known !== undefined) return new TreadleError(known, String(message));
  if (typeof statusCode === "number" && statusCode >= 400 && statusCode < 500)
    return new TreadleError("BAD_REQUEST", String(message).slice(0, 500));
  return new TreadleError("INTERNAL", "Something went wrong inside Treadle.", { cause: error });
}
