import type { FastifyRequest } from "fastify";

/** The address others reach this server by, `https://host:port`: that of the settings, else the one the request came by. */
export function publicOrigin(settings: { readonly publicUrl: string | null }, request: FastifyRequest): string {
  return settings.publicUrl ?? `${request.protocol}://${request.host}`;
}
