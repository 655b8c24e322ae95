import type { Bundle, Files, StoredFile } from "@treadle/files";
import { ACCESS_ID, type DrsParts } from "./drs-parts.ts";
import type { AccessMethod, ContentsObject, DrsObject } from "./drs-schemas.ts";
import type { Found } from "./find-objects.ts";

/** What the form of an answer depends on beside the object. */
export interface ViewContext {
  readonly profile: DrsParts["settings"]["drsProfile"];
  /** `https://host[:port]` */
  readonly origin: string;
  /** Nobody needs a key: the server has none. */
  readonly keyless: boolean;
  readonly location: Files["location"];
}

/** A file as a DRS object. Its bytes never change, so the times and the version are those of its bytes. */
export function viewOfFile(file: StoredFile, context: ViewContext): DrsObject {
  return {
    ...common(file, file.sha256, context),
    mime_type: file.mimeType,
    access_methods: [accessMethodOf(file, context)],
  };
}

/** A bundle as a DRS object; `below`: the bundles in it by id, when its contents are to be expanded. */
export function viewOfBundle(bundle: Bundle, context: ViewContext, below?: ReadonlyMap<string, Bundle>): DrsObject {
  return { ...common(bundle, bundle.checksum, context), contents: contentsOf(bundle, context, below) };
}

function contentsOf(bundle: Bundle, context: ViewContext, below?: ReadonlyMap<string, Bundle>): ContentsObject[] {
  return bundle.contents.map(({ name, fileId, bundleId }) => {
    const id = (fileId ?? bundleId) as string;
    const inner = bundleId === undefined ? undefined : below?.get(bundleId);
    return {
      name,
      id,
      drs_uri: [uriOf(id, context)],
      ...(inner === undefined ? {} : { contents: contentsOf(inner, context, below) }),
    };
  });
}

function common(object: StoredFile | Bundle, sha256: string, context: ViewContext) {
  const created = new Date(object.createdAt).toISOString();
  const name = portable(object.name);
  return {
    id: object.id,
    name,
    self_uri: uriOf(object.id, context),
    size: object.size,
    created_time: created,
    updated_time: created,
    version: sha256,
    checksums: [{ type: "sha-256", checksum: sha256 }],
    ...(object.description === null || object.description === "" ? {} : { description: object.description }),
    ...(name === object.name ? {} : { aliases: [object.name] }),
  };
}

function accessMethodOf(file: StoredFile, { profile, keyless, location }: ViewContext): AccessMethod {
  // What stays at an address of its own is in no storage of ours.
  const { cloud, region } = file.origin === null ? location : { cloud: null, region: null };
  const method = { type: "https" as const, access_id: ACCESS_ID, ...(region === null ? {} : { region }) };
  if (profile === "1.2") return method;
  return {
    ...method,
    ...(cloud === null ? {} : { cloud }),
    available: !file.damaged,
    authorizations: { supported_types: [authorizationOf({ kind: "file", file }, keyless)] },
  };
}

/** How a request for an object has to be authorized. Of one that the caller may not see this says no more than that. */
export function authorizationOf(found: Found, keyless: boolean): "None" | "BearerAuth" {
  const open = (found.kind === "file" && found.file.public) || (found.kind === "bundle" && found.bundle.public);
  return keyless || open ? "None" : "BearerAuth";
}

function uriOf(id: string, { origin }: ViewContext): string {
  return `drs://${new URL(origin).host}/${id}`;
}

/** DRS names are made of few characters; the name as it was given is then an alias. */
function portable(name: string): string {
  return name.replaceAll(/[^A-Za-z0-9._-]/g, "_");
}
