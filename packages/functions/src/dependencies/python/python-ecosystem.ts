import type { Runtime } from "@treadle/runtimes";
import type { DependencySettings } from "../dependency-settings.ts";
import type { CheckedLock, Ecosystem, InstallContext } from "../ecosystem.ts";
import { installFailure } from "../install-failure.ts";
import { INSIDE } from "../install-sandbox.ts";
import { checkFiles, type ManifestFiles } from "../manifest-files.ts";
import { type PackagePolicy, packagePolicy } from "../package-policy.ts";
import { type RegistryAccess, withPort } from "../registry-access.ts";
import { findUv } from "./find-uv.ts";
import { readIndexConfiguration } from "./index-configuration.ts";
import { readPyproject } from "./pyproject.ts";
import { type PythonLock, readPythonLock } from "./python-lock.ts";
import { normalizePythonName } from "./python-names.ts";
import { hashesByName, type Requirement, readRequirements } from "./requirements.ts";
import { uvFailure } from "./uv-failure.ts";

const LOCK = "requirements.lock";
const LOCK_BYTES = 32 * 1024 * 1024;
const UV = "/usr/lib/treadle/uv";

/** Python packages, by uv. */
export class PythonEcosystem implements Ecosystem {
  readonly runtime: Runtime;
  readonly mounted = "site-packages";
  readonly folder = "site-packages";
  readonly #settings: DependencySettings;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #policy: PackagePolicy;

  constructor(runtime: Runtime, settings: DependencySettings, environment: NodeJS.ProcessEnv) {
    this.runtime = runtime;
    this.#settings = settings;
    this.#environment = environment;
    this.#policy = packagePolicy(settings, normalizePythonName);
  }

  check(files: ManifestFiles): void {
    this.#requirements(files);
  }

  async resolve(files: ManifestFiles, context: InstallContext): Promise<CheckedLock> {
    const requirements = this.#requirements(files);
    const uvLock = files["uv.lock"];
    if (uvLock !== undefined) {
      // A project's lock stands for the whole project: what requirements.txt adds to it would not be in it.
      if (files["requirements.txt"] !== undefined)
        throw installFailure("There are both uv.lock and requirements.txt; keep one of them.");
      return this.#exportUvLock(files, uvLock, requirements, context);
    }
    const lines = requirements.map((each) => `${each.line}\n`).join("");
    await context.staging.writeProjectFile("requirements.in", lines);
    const build = this.#settings.allowScripts ? [] : ["--only-binary", ":all:"];
    await this.#uv(context, await this.#access(context), [
      "pip",
      "compile",
      "requirements.in",
      ...[
        "--output-file",
        LOCK,
        "--quiet",
        "--generate-hashes",
        "--no-header",
        "--no-annotate",
        "--python",
        this.#python,
        ...build,
      ],
    ]);
    return this.#readWritten(context, requirements);
  }

  readLock(text: string): CheckedLock {
    return checked(readPythonLock(text, this.#policy));
  }

  async install(lock: CheckedLock, context: InstallContext): Promise<void> {
    await context.staging.writeProjectFile(LOCK, lock.text);
    const build = this.#settings.allowScripts ? [] : ["--only-binary", ":all:"];
    await this.#uv(context, await this.#access(context), [
      ...["pip", "install", "--requirements", LOCK, "--require-hashes", "--no-deps", "--target", this.folder],
      // The environment is read-only later: without this every start would compile it anew.
      ...["--compile-bytecode", "--python", this.#python, ...build],
    ]);
  }

  get #python(): string {
    return this.runtime.root.executables[0]?.target ?? "/usr/bin/python3";
  }

  #requirements(files: ManifestFiles): Requirement[] {
    checkFiles(files, ["requirements.txt", "pyproject.toml"], ["uv.lock"]);
    const requirements = files["requirements.txt"];
    const pyproject = files["pyproject.toml"];
    if (requirements === undefined && pyproject === undefined)
      throw installFailure("There is no requirements.txt or pyproject.toml.");
    if (files["uv.lock"] !== undefined && pyproject === undefined) throw installFailure("uv.lock needs its pyproject.toml.");
    return [...readPyproject(pyproject ?? "", this.#policy), ...readRequirements(requirements ?? "", this.#policy)];
  }

  /** uv reads its own lock, without network: what comes out is checked like any other lock. */
  async #exportUvLock(
    files: ManifestFiles,
    uvLock: string,
    requirements: readonly Requirement[],
    context: InstallContext,
  ): Promise<CheckedLock> {
    await context.staging.writeProjectFile("pyproject.toml", files["pyproject.toml"] ?? "");
    await context.staging.writeProjectFile("uv.lock", uvLock);
    await this.#uv(context, null, [
      ...["export", "--frozen", "--no-dev", "--no-emit-project", "--no-header", "--no-annotate", "--quiet"],
      ...["--format", "requirements-txt", "--output-file", LOCK, "--python", this.#python],
    ]);
    const lock = await this.#readWritten(context, requirements);
    const locked = new Set(lock.packages.map((each) => normalizePythonName(each.name)));
    const missing = requirements.find((each) => !locked.has(normalizePythonName(each.name)));
    if (missing)
      throw installFailure(
        `uv.lock does not fit pyproject.toml: it lacks "${missing.name}"; run \`uv lock\` to bring it up to date.`,
      );
    return lock;
  }

  async #readWritten(context: InstallContext, requirements: readonly Requirement[]): Promise<CheckedLock> {
    const text = await context.staging.readProjectFile(LOCK, LOCK_BYTES);
    return checked(readPythonLock(text, this.#policy, hashesByName(requirements)));
  }

  async #access(context: InstallContext): Promise<RegistryAccess> {
    const access = await readIndexConfiguration(this.#environment, INSIDE.configuration);
    context.log.hide(access.secrets);
    await context.staging.writeConfiguration(access.files);
    return access;
  }

  /** @param access null: without network */
  async #uv(context: InstallContext, access: RegistryAccess | null, args: readonly string[]): Promise<void> {
    const uv = findUv(this.#environment);
    if (uv === null)
      throw installFailure(
        "uv, which installs Python packages, is not on this server; `npm run verify` or `pip install uv` gets it.",
      );
    context.log.line(`$ uv ${args.join(" ")}`);
    const result = await context.sandbox.run({
      ...context,
      command: [UV, ...args, "--no-config", "--cache-dir", `${INSIDE.work}/cache`, "--color", "never"],
      root: { executables: [{ source: uv, target: UV }, ...this.runtime.root.executables], system: this.runtime.root.system },
      mounts: access?.mounts ?? [],
      environment: { UV_PYTHON_DOWNLOADS: "never", UV_NO_PROGRESS: "1", ...(access?.environment ?? { UV_OFFLINE: "1" }) },
      network: access === null ? null : [...access.trusted, ...this.#settings.trustedHosts.map(withPort)],
    });
    if (result.ok) return;
    throw installFailure(
      result.strayConnections > 0
        ? "A package would come from a server that is not the index."
        : uvFailure(result.output, this.#settings.allowScripts),
    );
  }
}

function checked(lock: PythonLock): CheckedLock {
  return { ...lock, withScripts: [] };
}
