import type { FastifyReply } from "fastify";
import { z } from "zod";

const RETRY_SECONDS = 5;

/** The form of an answer about an object that is being imported: none. */
export const inProgress = z.null().describe("The object is being imported; ask again after Retry-After seconds");

export function answerLater(reply: FastifyReply): FastifyReply {
  return reply.code(202).header("retry-after", String(RETRY_SECONDS)).send();
}
