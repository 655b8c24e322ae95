import type { IncomingMessage } from "node:http";
import type { FastifyInstance } from "fastify";

/** Lets the routes of this scope read bodies as they come, of any content type and size. */
export function takeBodiesRaw(app: Pick<FastifyInstance, "removeAllContentTypeParsers" | "addContentTypeParser">): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, _body, done) => done(null));
}

/** Reads and forgets what is still to come of a body that was refused: a client that is still sending may not read the answer yet. */
export function dropRest(request: IncomingMessage): void {
  request.unpipe();
  request.resume();
}
