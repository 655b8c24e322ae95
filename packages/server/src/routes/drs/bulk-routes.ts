import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { createAccess } from "./create-access.ts";
import { contextOf } from "./drs-context.ts";
import { type DrsParts, MOST_BULK, MOST_ENTRIES } from "./drs-parts.ts";
import { DrsProblem } from "./drs-problem.ts";
import {
  accessUrl,
  authorizations,
  type DrsObject,
  drsObject,
  expand,
  failures,
  passports,
  summary,
  type Unresolved,
  unresolved,
} from "./drs-schemas.ts";
import type { Found } from "./find-objects.ts";
import { authorizationOf } from "./object-view.ts";

const bulkAccessUrl = accessUrl.extend({ drs_object_id: z.string(), drs_access_id: z.string() }).meta({ id: "DrsBulkAccessUrl" });

/** Many objects in one request. What cannot be answered is listed by the status it would have had alone; nothing is merged or reordered. */
export function bulkRoutes(parts: DrsParts): FastifyPluginAsyncZod {
  return async (app) => {
    app.post(
      "/objects",
      {
        schema: {
          tags: ["drs"],
          summary: "Many objects at once",
          querystring: z.object({ expand }),
          body: z.object({ bulk_object_ids: z.array(z.string()), passports }),
          response: {
            200: z.object({ summary, unresolved_drs_objects: unresolved, resolved_drs_object: z.array(drsObject) }),
            ...failures,
          },
        },
      },
      async (request) => {
        const ids = request.body.bulk_object_ids;
        checkLength(ids.length);
        const context = contextOf(parts, request);
        const found = await context.findAll(ids);
        const expanding = request.query.expand ?? false;
        checkEntries(ids.map(found), expanding);
        const outcome = new Outcome();
        const objects: DrsObject[] = [];
        for (const id of ids) {
          const each = found(id);
          if (each.kind === "refused" || each.kind === "pending") outcome.refuse(id, each);
          else objects.push(await context.objectOf(each, expanding));
        }
        return { ...outcome.of(ids.length), resolved_drs_object: objects };
      },
    );

    app.options(
      "/objects",
      {
        schema: {
          tags: ["drs"],
          summary: "How requests for many objects are authorized",
          body: z.object({ bulk_object_ids: z.array(z.string()) }),
          response: {
            200: z.object({ summary, unresolved_drs_objects: unresolved, resolved_drs_object: z.array(authorizations) }),
            ...failures,
          },
        },
      },
      async (request) => {
        const ids = request.body.bulk_object_ids;
        checkLength(ids.length);
        const context = contextOf(parts, request);
        const found = await context.findAll(ids);
        const outcome = new Outcome();
        const resolved = ids.flatMap((id) => {
          const each = found(id);
          if (each.kind === "refused" && each.status === 404) {
            outcome.refuse(id, each);
            return [];
          }
          return { drs_object_id: id, supported_types: [authorizationOf(each, context.view.keyless)] };
        });
        return { ...outcome.of(ids.length), resolved_drs_object: resolved };
      },
    );

    app.post(
      "/objects/access",
      {
        schema: {
          tags: ["drs"],
          summary: "Addresses of the bytes of many objects",
          body: z.object({
            bulk_object_access_ids: z.array(
              z.object({ bulk_object_id: z.string(), bulk_access_ids: z.array(z.string()).default([]) }),
            ),
            passports,
          }),
          response: {
            200: z.object({
              summary,
              unresolved_drs_objects: unresolved,
              resolved_drs_object_access_urls: z.array(bulkAccessUrl),
            }),
            ...failures,
          },
        },
      },
      async (request, reply) => {
        const asked = request.body.bulk_object_access_ids.flatMap((each) =>
          each.bulk_access_ids.map((access) => ({ id: each.bulk_object_id, access })),
        );
        checkLength(Math.max(asked.length, request.body.bulk_object_access_ids.length));
        const context = contextOf(parts, request);
        const found = await context.findAll(asked.map(({ id }) => id));
        const outcome = new Outcome();
        const urls: z.infer<typeof bulkAccessUrl>[] = [];
        for (const { id, access } of asked) {
          const each = found(id);
          const url = await createAccess(parts, context.view.origin, each, access);
          if (url === null) outcome.refuse(id, each);
          else urls.push({ drs_object_id: id, drs_access_id: access, ...url });
        }
        return reply
          .header("cache-control", "no-store")
          .send({ ...outcome.of(asked.length), resolved_drs_object_access_urls: urls });
      },
    );
  };
}

/** What could not be answered, by status. */
class Outcome {
  readonly #refused = new Map<number, string[]>();

  refuse(id: string, found: Found): void {
    const status = found.kind === "refused" ? found.status : found.kind === "pending" ? 202 : 404;
    const ids = this.#refused.get(status);
    if (ids === undefined) this.#refused.set(status, [id]);
    else ids.push(id);
  }

  of(requested: number): { summary: z.infer<typeof summary>; unresolved_drs_objects: Unresolved } {
    const groups = [...this.#refused].map(([error_code, object_ids]) => ({ error_code, object_ids }));
    const refused = groups.reduce((sum, { object_ids }) => sum + object_ids.length, 0);
    return {
      summary: { requested, resolved: requested - refused, unresolved: refused },
      unresolved_drs_objects: groups,
    };
  }
}

function checkLength(length: number): void {
  if (length > MOST_BULK) throw new DrsProblem(413, `A request may name ${MOST_BULK} objects at once; this one names ${length}.`);
}

function checkEntries(found: readonly Found[], expanding: boolean): void {
  const entries = found.reduce(
    (sum, each) => (each.kind === "bundle" ? sum + (expanding ? each.bundle.entries : each.bundle.contents.length) : sum),
    0,
  );
  if (entries > MOST_ENTRIES)
    throw new DrsProblem(
      413,
      `These bundles have ${entries} entries together, more than the ${MOST_ENTRIES} an answer may list.`,
    );
}
