import type { IncomingMessage } from "node:http";
import type { FastifyInstance } from "fastify";

/** Lets the routes of this scope read bodies as they come, of any content type and size. */
export function takeBodiesRaw(app: Pick<FastifyInstance, "removeAllContentTypeParsers" | "addContentTypeParser">): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, _body, done) => done(null));
}

/** The chunks of a body. Ending early leaves the request open, so that it can still be answered; a connection that breaks ends it with an error. */
export function chunksOf(request: IncomingMessage): AsyncIterable<Buffer> {
  return request.iterator({ destroyOnReturn: false });
}

/** Reads and forgets what is still to come of a body that was refused: a client that is still sending may not read the answer yet. */
export function dropRest(request: IncomingMessage): void {
  request.unpipe();
  request.resume();
}
