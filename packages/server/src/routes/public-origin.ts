import { TreadleError } from "@treadle/errors";
import type { FastifyRequest } from "fastify";

const HOST = /^(?:\[[0-9a-f:.]{2,45}\]|[a-z0-9_](?:[a-z0-9._-]{0,252}[a-z0-9])?)(?::[1-9]\d{0,4})?$/i;

/**
 * The address others reach this server by, `https://host:port`: that of the settings, else the one the request came by.
 * @throws BAD_REQUEST when that is needed and is no host: it becomes part of answers
 */
export function publicOrigin(settings: { readonly publicUrl: string | null }, request: FastifyRequest): string {
  if (settings.publicUrl !== null) return settings.publicUrl;
  if (!HOST.test(request.host))
    throw new TreadleError("BAD_REQUEST", "The request's Host header is not a host with or without a port.");
  return `${request.protocol}://${request.host}`;
}
