import { TreadleError } from "@treadle/errors";
import type { Builds } from "./builds.ts";

/** Builds of a server that builds nothing. */
export function noBuilds(): Builds {
  const refuse = async (): Promise<never> => {
    throw new TreadleError("BAD_REQUEST", "This server builds nothing.");
  };
  return {
    takeSource: refuse,
    request: refuse,
    get: async () => null,
    ended: refuse,
    cancel: refuse,
    async *log() {},
    artifact: refuse,
    installed: async () => null,
    sourceEntries: refuse,
    sourceContents: refuse,
    collect: async () => 0,
    onEnd: () => {},
    async [Symbol.asyncDispose]() {},
  };
}
