import { createRequire } from "node:module";
import { dirname } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Runtime } from "@treadle/runtimes";
import type { RootSpec } from "@treadle/sandbox";
import type { DependencySettings } from "../dependency-settings.ts";
import type { CheckedLock, Ecosystem, InstallContext } from "../ecosystem.ts";
import { installFailure } from "../install-failure.ts";
import { INSIDE } from "../install-sandbox.ts";
import { checkFiles, type ManifestFiles } from "../manifest-files.ts";
import { type PackagePolicy, packagePolicy } from "../package-policy.ts";
import { type RegistryAccess, withPort } from "../registry-access.ts";
import { readNpmConfiguration } from "./npm-configuration.ts";
import { npmFailure } from "./npm-failure.ts";
import { type PackageManifest, readPackageJson, writePackageJson } from "./package-json.ts";
import { type PackageLock, readPackageLock } from "./package-lock.ts";
import { scriptRoot } from "./script-root.ts";

const NPM_FOLDER = dirname(createRequire(import.meta.url).resolve("npm/package.json"));
const NPM_INSIDE = "/npm";
const LOCK_BYTES = 32 * 1024 * 1024;

/** npm's settings in every run. Its own refusal of addresses and files comes on top of our checks of manifest and lock. */
const SETTINGS = {
  npm_config_userconfig: `${INSIDE.configuration}/npmrc`,
  npm_config_globalconfig: `${INSIDE.configuration}/none`,
  npm_config_cache: `${INSIDE.work}/cache`,
  npm_config_audit: "false",
  npm_config_fund: "false",
  npm_config_update_notifier: "false",
  npm_config_progress: "false",
  npm_config_logs_max: "0",
  npm_config_loglevel: "http",
  // By default npm would try an unreachable registry for more than a minute.
  npm_config_fetch_retry_mintimeout: "1000",
  npm_config_fetch_retry_maxtimeout: "5000",
  npm_config_omit_lockfile_registry_resolved: "true",
  npm_config_allow_git: "none",
  npm_config_allow_remote: "none",
  npm_config_allow_file: "none",
  npm_config_allow_directory: "none",
};

/** JavaScript packages, by npm. */
export class NodeEcosystem implements Ecosystem {
  readonly runtime: Runtime;
  readonly mounted = "";
  readonly folder = "node_modules";
  readonly #settings: DependencySettings;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #policy: PackagePolicy;

  constructor(runtime: Runtime, settings: DependencySettings, environment: NodeJS.ProcessEnv) {
    this.runtime = runtime;
    this.#settings = settings;
    this.#environment = environment;
    this.#policy = packagePolicy(settings, (name) => name.toLowerCase());
  }

  check(files: ManifestFiles): void {
    const manifest = this.#manifest(files);
    const lock = files["package-lock.json"];
    // Where the lock's addresses lead is only known when the operator's configuration has been read.
    if (lock !== undefined) this.#requireFit(manifest, readPackageLock(lock, null, this.#policy, manifest.overrides));
  }

  async resolve(files: ManifestFiles, context: InstallContext): Promise<CheckedLock> {
    const manifest = this.#manifest(files);
    const access = await this.#access(context);
    const hosts = [...access.hosts, ...this.#settings.trustedHosts];
    const given = files["package-lock.json"];
    if (given !== undefined) {
      const lock = readPackageLock(given, hosts, this.#policy, manifest.overrides);
      this.#requireFit(manifest, lock);
      return lock;
    }
    const { devDependencies: _notInstalled, ...installed } = manifest;
    await context.staging.writeProjectFile("package.json", writePackageJson(installed));
    await this.#npm(context, access, ["install", "--package-lock-only", "--ignore-scripts"]);
    const text = await context.staging.readProjectFile("package-lock.json", LOCK_BYTES);
    return readPackageLock(text, hosts, this.#policy, manifest.overrides);
  }

  readLock(text: string): PackageLock {
    return readPackageLock(text, [], this.#policy);
  }

  async install(lock: CheckedLock, context: InstallContext): Promise<void> {
    await context.staging.writeProjectFile("package.json", writePackageJson(this.readLock(lock.text).manifest));
    await context.staging.writeProjectFile("package-lock.json", lock.text);
    await this.#npm(context, await this.#access(context), ["ci", "--ignore-scripts", "--omit=dev"]);
    // Scripts run afterwards, without network and without the operator's credentials.
    if (this.#settings.allowScripts && lock.withScripts.length > 0) await this.#runScripts(context);
  }

  #manifest(files: ManifestFiles): PackageManifest {
    checkFiles(files, ["package.json"], ["package-lock.json"]);
    const text = files["package.json"];
    if (text === undefined) throw installFailure("There is no package.json.");
    return readPackageJson(text, this.#policy);
  }

  /** `npm ci` would say the same, but later and less clearly. */
  #requireFit(manifest: PackageManifest, lock: PackageLock): void {
    if (!isDeepStrictEqual({ ...manifest }, { ...lock.manifest })) {
      throw installFailure("package-lock.json does not fit package.json; run `npm install` to bring it up to date.");
    }
  }

  async #access(context: InstallContext): Promise<RegistryAccess> {
    const access = await readNpmConfiguration(this.#environment, INSIDE.configuration);
    context.log.hide(access.secrets);
    await context.staging.writeConfiguration(access.files);
    return access;
  }

  async #npm(context: InstallContext, access: RegistryAccess, args: readonly string[]): Promise<void> {
    context.log.line(`$ npm ${args.join(" ")}`);
    const result = await context.sandbox.run({
      ...context,
      command: [context.sandbox.nodePath, `${NPM_INSIDE}/bin/npm-cli.js`, ...args],
      root: { executables: [], system: [] },
      mounts: [{ source: NPM_FOLDER, target: NPM_INSIDE, access: "read-only" }],
      environment: { ...SETTINGS, ...access.environment },
      network: [...access.trusted, ...this.#settings.trustedHosts.map(withPort)],
    });
    if (result.ok) return;
    throw installFailure(
      result.strayConnections > 0 ? "A package would come from a server that is not the registry." : npmFailure(result.output),
    );
  }

  async #runScripts(context: InstallContext): Promise<void> {
    context.log.line("$ npm rebuild");
    await context.staging.clearConfiguration();
    const { ok, output } = await context.sandbox.run({
      ...context,
      command: [context.sandbox.nodePath, `${NPM_INSIDE}/bin/npm-cli.js`, "rebuild", "--foreground-scripts"],
      root: (await scriptRoot()) satisfies RootSpec,
      mounts: [{ source: NPM_FOLDER, target: NPM_INSIDE, access: "read-only" }],
      environment: { ...SETTINGS, npm_config_dangerously_allow_all_scripts: "true", npm_config_offline: "true" },
      network: null,
    });
    if (!ok) throw installFailure(`An install script failed. ${npmFailure(output)}`);
  }
}
