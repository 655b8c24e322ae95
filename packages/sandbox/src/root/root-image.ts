import { createHash, randomBytes } from "node:crypto";
import { chmod, lstat, mkdir, open, readdir, readFile, readlink, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { TreadleError } from "@treadle/errors";
import type { RootSpec } from "../sandbox.ts";
import { findSharedLibraries, resolveFolder } from "./shared-libraries.ts";

/** Raise when what is put into an image changes, so that images of an older Treadle are not taken for current ones. */
const IMAGE_FORMAT = 1;

/** On merged-/usr systems these are symlinks; programs and ELF headers name paths through them. */
const MERGED_DIRECTORIES = ["/bin", "/sbin", "/lib", "/lib64"];

const ETC_FILES: Readonly<Record<string, string>> = {
  "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
  "/etc/hosts": "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n",
  "/etc/resolv.conf": "",
  // Every sandbox has its own user; its two files are mounted here.
  "/etc/passwd": "",
  "/etc/group": "",
};

/** A path to show inside, on top of the image. */
interface Bind {
  readonly source: string;
  readonly target: string;
}

/** A read-only root file system, ready to be mounted piece by piece. */
export interface RootImage {
  /** Host directory of the image; holds small copies (shared libraries, /etc) and empty places to mount on. */
  readonly directory: string;
  /** Names of the image's directories in `/`. */
  readonly topLevel: readonly string[];
  /** Symlinks in `/`, name → target. */
  readonly symlinks: Readonly<Record<string, string>>;
  /** Executables and system directories, mounted from the host. */
  readonly binds: readonly Bind[];
}

interface Manifest {
  readonly image: RootImage;
  /** path → `size mtime` of everything the image was made from. */
  readonly inputs: Readonly<Record<string, string>>;
}

async function fingerprint(path: string): Promise<string> {
  try {
    const status = await stat(path);
    return `${status.size} ${status.mtimeMs} ${status.ino}`;
  } catch {
    return "missing";
  }
}

async function isCurrent(manifest: Manifest): Promise<boolean> {
  const checks = Object.entries(manifest.inputs).map(async ([path, expected]) => (await fingerprint(path)) === expected);
  checks.push(stat(manifest.image.directory).then(Boolean, () => false));
  return (await Promise.all(checks)).every(Boolean);
}

async function writeDurably(path: string, content: Buffer | string, mode: number): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await using file = await open(path, "wx", mode);
  await file.writeFile(content);
  await file.chmod(mode);
  await file.sync();
}

/** Images are shared by users of other ids, so their directories must not depend on our umask. */
async function openDirectories(directory: string): Promise<void> {
  await chmod(directory, 0o755);
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (entry.isDirectory()) await chmod(join(entry.parentPath, entry.name), 0o755);
  }
}

async function findSymlinks(): Promise<Record<string, string>> {
  const symlinks: Record<string, string> = {};
  for (const path of MERGED_DIRECTORIES) {
    const status = await lstat(path).catch(() => null);
    if (status?.isSymbolicLink()) symlinks[path] = await readlink(path);
  }
  return symlinks;
}

/** Files of the image by their path inside, and the empty directories and files to mount on. */
interface Plan {
  readonly files: Map<string, Buffer | string>;
  readonly executable: Set<string>;
  readonly directories: Set<string>;
  readonly binds: Bind[];
  readonly inputs: Set<string>;
}

/** A path inside with the root's own symlinks (`/bin` → `usr/bin`) resolved, since nothing can be mounted on a symlink. */
function throughSymlinks(path: string, symlinks: Readonly<Record<string, string>>): string {
  const [, first, rest] = /^(\/[^/]+)(.*)$/.exec(path) ?? [];
  const target = first === undefined ? undefined : symlinks[first];
  return target === undefined ? path : join("/", target) + rest;
}

async function planImage(
  spec: RootSpec,
  copied: readonly { source: string; target: string }[],
  symlinks: Readonly<Record<string, string>>,
): Promise<Plan> {
  const plan: Plan = {
    files: new Map(Object.entries(ETC_FILES)),
    executable: new Set(),
    directories: new Set(),
    binds: [],
    inputs: new Set(),
  };
  const system: string[] = [];
  for (const path of spec.system) {
    plan.inputs.add(path);
    const status = await stat(path).catch(() => null);
    if (!status) continue;
    const target = await resolveFolder(path);
    system.push(target);
    plan.binds.push({ source: path, target });
    if (status.isDirectory()) plan.directories.add(target);
    else plan.files.set(target, "");
  }
  for (const { source, target } of spec.executables) {
    plan.inputs.add(source);
    const resolved = throughSymlinks(target, symlinks);
    plan.binds.push({ source, target: resolved });
    plan.files.set(resolved, "");
  }
  const programs = [...spec.executables, ...copied].map(({ source }) => source);
  for (const library of await findSharedLibraries(programs, system)) {
    plan.inputs.add(library);
    if (system.some((path) => library === path || library.startsWith(`${path}/`))) continue;
    plan.files.set(library, await readFile(library));
    plan.executable.add(library);
  }
  for (const { source, target } of copied) {
    plan.inputs.add(source);
    plan.files.set(target, await readFile(source));
    plan.executable.add(target);
  }
  return plan;
}

function digestOf(plan: Plan): string {
  const hash = createHash("sha256").update(String(IMAGE_FORMAT));
  for (const path of [...plan.directories].sort()) hash.update(`\ndirectory ${path}`);
  for (const [path, content] of [...plan.files].sort(([a], [b]) => (a < b ? -1 : 1))) {
    hash.update(`\nfile ${path} ${content.length}\n`).update(content);
  }
  return hash.digest("hex").slice(0, 32);
}

/** Writes the image beside its final place and renames it, so that a half-made one is never used. */
async function writeImage(directory: string, plan: Plan): Promise<void> {
  if (await stat(directory).catch(() => null)) return;
  const draft = `${directory}.part-${randomBytes(4).toString("hex")}`;
  try {
    for (const path of plan.directories) await mkdir(join(draft, path), { recursive: true });
    for (const [path, content] of plan.files) {
      await writeDurably(join(draft, path), content, plan.executable.has(path) ? 0o555 : 0o444);
    }
    await openDirectories(draft);
    await rename(draft, directory);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== "ENOTEMPTY" && code !== "EEXIST") throw error;
  }
}

/** Makes and keeps root images in `<stateDirectory>/roots`. */
export class RootImages {
  readonly #directory: string;
  readonly #copied: readonly { source: string; target: string }[];
  readonly #bySpec = new WeakMap<RootSpec, Promise<RootImage>>();
  readonly #byKey = new Map<string, Promise<RootImage>>();

  /** `copied`: programs that the sandbox itself needs inside every root. */
  constructor(directory: string, copied: readonly { source: string; target: string }[]) {
    this.#directory = directory;
    this.#copied = copied;
  }

  /** The image of a spec: from memory, else from disk when nothing it was made from has changed, else made now. */
  prepare(spec: RootSpec): Promise<RootImage> {
    let image = this.#bySpec.get(spec);
    if (image) return image;
    const key = JSON.stringify([IMAGE_FORMAT, spec.executables, spec.system, this.#copied]);
    image = this.#byKey.get(key);
    if (!image) {
      image = this.#load(key);
      this.#byKey.set(key, image);
      // A failure is not remembered: what was missing may be there at the next try.
      image.catch(() => this.#byKey.delete(key));
    }
    this.#bySpec.set(spec, image);
    image.catch(() => this.#bySpec.delete(spec));
    return image;
  }

  async #load(key: string): Promise<RootImage> {
    const [, executables, system] = JSON.parse(key) as [number, RootSpec["executables"], RootSpec["system"]];
    const manifestFile = join(this.#directory, `${createHash("sha256").update(key).digest("hex").slice(0, 32)}.json`);
    const stored = await readFile(manifestFile, "utf8").then(
      (text) => JSON.parse(text) as Manifest,
      () => null,
    );
    // A state directory that was copied brings manifests along that name the images of the other.
    const own = stored !== null && dirname(stored.image.directory) === this.#directory;
    if (own && (await isCurrent(stored).catch(() => false))) return stored.image;
    const manifest = await this.#make({ executables, system });
    const draft = `${manifestFile}.part-${randomBytes(4).toString("hex")}`;
    await writeFile(draft, JSON.stringify(manifest));
    await rename(draft, manifestFile);
    return manifest.image;
  }

  async #make(spec: RootSpec): Promise<Manifest> {
    await mkdir(this.#directory, { recursive: true });
    const symlinks = await findSymlinks();
    let plan: Plan;
    try {
      plan = await planImage(spec, this.#copied, symlinks);
    } catch (error) {
      if (error instanceof TreadleError) throw error;
      throw new TreadleError("SANDBOX_UNAVAILABLE", `The sandbox's root cannot be made: ${(error as Error).message}`, {
        cause: error,
      });
    }
    const inputs: Record<string, string> = {};
    for (const path of plan.inputs) inputs[path] = await fingerprint(path);
    const directory = join(this.#directory, digestOf(plan));
    await writeImage(directory, plan);
    const topLevel = (await readdir(directory)).filter((name) => !(`/${name}` in symlinks));
    return { image: { directory, topLevel, symlinks, binds: plan.binds }, inputs };
  }

  /** Removes drafts and images that no manifest names. Only while no sandbox runs. */
  async sweep(): Promise<void> {
    const names = await readdir(this.#directory).catch(() => []);
    const used = new Set<string>();
    for (const name of names.filter((candidate) => candidate.endsWith(".json"))) {
      const path = join(this.#directory, name);
      try {
        used.add((JSON.parse(await readFile(path, "utf8")) as Manifest).image.directory);
      } catch {
        await rm(path, { force: true });
      }
    }
    for (const name of names) {
      const path = join(this.#directory, name);
      if (!name.endsWith(".json") && !used.has(path)) await rm(path, { recursive: true, force: true });
    }
  }
}
