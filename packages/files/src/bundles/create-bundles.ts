import { createHash } from "node:crypto";
import { TreadleError } from "@treadle/errors";
import { type BundleEntryRecord, type BundlePart, type BundleRecord, createExecutionId, isExecutionId } from "@treadle/store";
import type { FilesParts } from "../files-parts.ts";
import type { Bundle, BundleEntry, BundleSummary, NewBundle } from "./bundle.ts";
import type { Bundles } from "./bundles.ts";
import { checkBundle } from "./check-bundle.ts";

const MOST_DEPTH = 32;
const LIST_DEFAULT = 100;
const LIST_MOST = 1_000;

/** Bundles never change once made, so what a bundle holds is always older than it: there are no circles. */
export function createBundles(parts: Pick<FilesParts, "store">): Bundles {
  const store = parts.store.bundles;

  async function find(ids: readonly string[]): Promise<Bundle[]> {
    const asked = ids.filter(isExecutionId);
    if (asked.length === 0) return [];
    const records = await store.find(asked);
    const entries = await store.contents(records.map((record) => record.id));
    const contents = Map.groupBy(entries, (entry) => entry.bundleId);
    return records.map((record) => ({ ...summaryOf(record), contents: (contents.get(record.id) ?? []).map(entryOf) }));
  }

  const bundles: Bundles = {
    async create(workspace, bundle) {
      checkBundle(bundle);
      const found = await partsOf(workspace, bundle);
      const record = {
        id: createExecutionId(),
        workspace,
        name: bundle.name,
        description: bundle.description ?? null,
        public: bundle.public ?? false,
        ...measure(bundle, found),
      };
      const contents = bundle.contents.map(({ name, fileId, bundleId }) => ({
        name,
        fileId: fileId ?? null,
        childId: bundleId ?? null,
      }));
      // What has gone between the two is found missing by the second look.
      while (!(await store.insert(record, contents))) await partsOf(workspace, bundle);
      return bundles.get(workspace, record.id);
    },

    async get(workspace, id) {
      const [bundle] = await find([id]);
      if (bundle?.workspace !== workspace) throw unknownBundle(workspace, id);
      return bundle;
    },

    find: async (id) => (await find([id]))[0] ?? null,

    findAll: find,

    async summaries(ids) {
      const asked = ids.filter(isExecutionId);
      return asked.length === 0 ? [] : (await store.find(asked)).map(summaryOf);
    },

    async findByChecksum(checksum, limit = LIST_DEFAULT) {
      if (!/^[0-9a-f]{64}$/.test(checksum)) return [];
      const records = await store.findByChecksum(Buffer.from(checksum, "hex"), limit);
      return find(records.map((record) => record.id));
    },

    async below(id) {
      return isExecutionId(id) ? find(await store.below(id)) : [];
    },

    async list(workspace, { after, limit = LIST_DEFAULT } = {}) {
      if (after !== undefined && !isExecutionId(after))
        throw new TreadleError("BAD_REQUEST", "`after` has to be `next` of the page before.");
      if (!(Number.isInteger(limit) && limit >= 1 && limit <= LIST_MOST))
        throw new TreadleError("BAD_REQUEST", `\`limit\` has to be 1 to ${LIST_MOST}.`);
      const records = await store.list(workspace, after ?? null, limit + 1);
      const page = records.slice(0, limit).map(summaryOf);
      return { bundles: page, next: records.length > limit ? (page.at(-1)?.id ?? null) : null };
    },

    async remove(workspace, id) {
      const result = isExecutionId(id) ? await store.remove(workspace, id) : "unknown";
      if (result === "unknown") throw unknownBundle(workspace, id);
      if (result === "held")
        throw new TreadleError("CONFLICT", "Another bundle holds this one; remove that first.", {
          details: { workspace, bundle: id },
        });
    },

    count: () => store.count(),
  };
  return bundles;

  /** The bundle's parts by id, all of them. @throws UNKNOWN_FILE, UNKNOWN_BUNDLE */
  async function partsOf(workspace: string, { contents }: NewBundle): Promise<Map<string, BundlePart>> {
    const ids = (of: "fileId" | "bundleId") => contents.flatMap((entry) => entry[of] ?? []).filter(isExecutionId);
    const found = await store.parts(workspace, ids("fileId"), ids("bundleId"));
    const parts = new Map(found.map((part) => [part.id, part]));
    for (const { name, fileId, bundleId } of contents) {
      if (parts.has((fileId ?? bundleId ?? "").toLowerCase())) continue;
      if (bundleId !== undefined) throw unknownBundle(workspace, bundleId, name);
      throw new TreadleError("UNKNOWN_FILE", `Workspace "${shown(workspace)}" has no file for entry "${name}".`, {
        details: { workspace: shown(workspace), file: shown(fileId ?? ""), entry: name },
      });
    }
    return parts;
  }
}

/** What a bundle is, by what it holds. @throws BAD_REQUEST when it would be too deep or too large, or shows what is not public */
function measure({ contents, public: open }: NewBundle, parts: ReadonlyMap<string, BundlePart>) {
  const held = contents.map(({ fileId, bundleId }) => parts.get((fileId ?? bundleId ?? "").toLowerCase()) as BundlePart);
  const hidden = open === true ? held.findIndex((part) => !part.public) : -1;
  if (hidden >= 0)
    throw new TreadleError("BAD_REQUEST", `A public bundle holds public things only; "${contents[hidden]?.name}" is not.`);
  const depth = 1 + Math.max(...held.map((part) => part.depth));
  if (depth > MOST_DEPTH) throw new TreadleError("BAD_REQUEST", `Bundles may be at most ${MOST_DEPTH} deep.`);
  const size = held.reduce((sum, part) => sum + part.size, 0);
  const entries = held.reduce((sum, part) => sum + 1 + part.entries, 0);
  if (!Number.isSafeInteger(size) || !Number.isSafeInteger(entries))
    throw new TreadleError("BAD_REQUEST", "What the bundle holds adds up to more than can be counted.");
  const checksum = createHash("sha256")
    .update(
      held
        .map((part) => part.digest.toString("hex"))
        .sort()
        .join(""),
    )
    .digest();
  return { checksum, size, depth, entries };
}

function summaryOf(record: BundleRecord): BundleSummary {
  return { ...record, checksum: record.checksum.toString("hex") };
}

function entryOf({ name, fileId, childId }: BundleEntryRecord): BundleEntry {
  return fileId === null ? { name, bundleId: childId as string } : { name, fileId };
}

function unknownBundle(workspace: string, id: string, entry?: string): TreadleError {
  const which = entry === undefined ? "of this id" : `for entry "${entry}"`;
  return new TreadleError("UNKNOWN_BUNDLE", `Workspace "${shown(workspace)}" has no bundle ${which}.`, {
    details: { workspace: shown(workspace), bundle: shown(id) },
  });
}

/** The start of what the user sent. */
function shown(text: string): string {
  return text.slice(0, 100);
}
