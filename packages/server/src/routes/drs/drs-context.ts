import type { Bundle } from "@treadle/files";
import type { FastifyRequest } from "fastify";
import { publicOrigin } from "../public-origin.ts";
import { type DrsParts, MOST_ENTRIES } from "./drs-parts.ts";
import { DrsProblem, unauthorized, unknownObject } from "./drs-problem.ts";
import type { DrsObject } from "./drs-schemas.ts";
import { type Found, findObjects } from "./find-objects.ts";
import { type ViewContext, viewOfBundle, viewOfFile } from "./object-view.ts";

/** A file or bundle that the caller may see, or one that is on its way. */
export type Seen = Exclude<Found, { readonly kind: "refused" }>;

/** What the routes do with the objects of a request. */
export interface DrsContext {
  readonly view: ViewContext;
  readonly authorized: boolean;
  /** @throws DrsProblem 401, 404 */
  find(id: string): Promise<Seen>;
  findAll(ids: Iterable<string>): Promise<(id: string) => Found>;
  /** The DRS form of a file or bundle. @throws DrsProblem 400 when expanding it gives too many entries */
  objectOf(found: Exclude<Seen, { readonly kind: "pending" }>, expand: boolean): Promise<DrsObject>;
}

/** @throws BAD_REQUEST for a request whose Host cannot become part of the answer */
export function contextOf({ files, guard, settings }: DrsParts, request: FastifyRequest): DrsContext {
  const authorized = guard.authorized(request.headers);
  const view: ViewContext = {
    profile: settings.drsProfile,
    origin: publicOrigin(settings, request),
    keyless: guard.authorized({}),
    location: files.location,
  };
  const findAll = (ids: Iterable<string>) => findObjects(files, ids, authorized);

  async function expanded(bundle: Bundle): Promise<DrsObject> {
    if (bundle.entries > MOST_ENTRIES)
      throw new DrsProblem(
        400,
        `The bundle has ${bundle.entries} entries at all depths, more than the ${MOST_ENTRIES} an answer may list.`,
      );
    const below = bundle.depth > 1 ? await files.bundles.below(bundle.id) : [];
    return viewOfBundle(bundle, view, new Map(below.map((each) => [each.id, each])));
  }

  return {
    view,
    authorized,
    findAll,
    async find(id) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
      if (/[\u0000-\u001f\u007f]/.test(id)) throw new DrsProblem(400, "The id has control characters.");
      const found = (await findAll([id]))(id);
      if (found.kind !== "refused") return found;
      throw found.status === 401 ? unauthorized() : unknownObject();
    },
    async objectOf(found, expand) {
      if (found.kind === "file") return viewOfFile(found.file, view);
      return expand ? expanded(found.bundle) : viewOfBundle(found.bundle, view);
    },
  };
}
