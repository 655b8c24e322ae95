import { isTreadleError, TreadleError } from "@treadle/errors";
import type { Runtimes } from "@treadle/runtimes";
import { checkWorkspaceName, type DeploymentRecord, type Store } from "@treadle/store";
import type { Build, BuildLogLine, Builds, Source, SourceInput } from "../builds/builds.ts";
import type { FunctionSettings } from "../function-settings.ts";
import { checkedFunctionName, shown } from "../names.ts";
import { unknownDeployment, type Workspaces } from "../workspaces.ts";
import { deploymentPlan } from "./deployment-plan.ts";
import type { Deployments, DeploymentView, NewDeployment, SourceDifference } from "./deployments.ts";
import { type ComparedSource, sourceDifferences, sourceOfBuild, sourceOfFiles } from "./source-differences.ts";

const RETRY_MS = 2_000;
const ALIAS = /^[A-Za-z][A-Za-z0-9_.-]{0,63}$/;
/** References that are no aliases. */
const WORDS = new Set(["active", "latest"]);
const LARGEST_VERSION = 2_147_483_647;

/** Deployments over the store, builds and the workspaces that are served. */
export class FunctionDeployments implements Deployments, AsyncDisposable {
  readonly #store: Store;
  readonly #runtimes: Runtimes;
  readonly #workspaces: Workspaces;
  readonly #builds: Builds;
  readonly #warn: (message: string, fields: object) => void;
  readonly #settling = new Set<Promise<void>>();
  readonly #retries = new Set<NodeJS.Timeout>();
  #closed = false;

  constructor(options: {
    readonly store: Store;
    readonly runtimes: Runtimes;
    readonly workspaces: Workspaces;
    readonly builds: Builds;
    readonly warn: (message: string, fields: object) => void;
  }) {
    this.#store = options.store;
    this.#runtimes = options.runtimes;
    this.#workspaces = options.workspaces;
    this.#builds = options.builds;
    this.#warn = options.warn;
    this.#builds.onEnd((build) => this.#settle(build.id));
  }

  /** Takes up what an earlier process left: deployments whose builds ended without anybody there to activate them. */
  resume(): void {
    this.#settle();
  }

  async create(workspace: string, functionName: string, input: NewDeployment, signal?: AbortSignal): Promise<DeploymentView> {
    checkWorkspaceName(workspace);
    checkedFunctionName(functionName);
    const source = await this.#builds.takeSource(input.source, signal);
    const plan = deploymentPlan(functionName, input, source, this.#runtimes);
    const { runtime, entrypoint, command } = plan;
    const build = await this.#builds.request({ source, runtime, entrypoint, command });
    const record = await this.#store.deployments.create(workspace, functionName, {
      buildId: build.id,
      language: runtime.language,
      contract: plan.contract,
      entrypoint,
      settings: plan.settings,
      origin: originOf(input.source, source),
      activateWhenReady: input.activate ?? true,
    });
    await this.#workspaces.refresh(workspace);
    // It may have ended before the deployment was there to be activated: an equal source was built before.
    const now = (await this.#builds.get(build.id)) ?? build;
    if (hasEnded(now)) this.#settle(build.id);
    return viewOf(record, now);
  }

  async list(workspace: string, functionName: string): Promise<DeploymentView[]> {
    const records = await this.#store.deployments.list(workspace, functionName);
    const ids = [...new Set(records.flatMap(({ buildId }) => buildId ?? []))];
    const builds = new Map((await Promise.all(ids.map((id) => this.#builds.get(id)))).map((build, at) => [ids[at], build]));
    return records.map((record) => viewOf(record, (record.buildId === null ? null : builds.get(record.buildId)) ?? null));
  }

  async get(workspace: string, functionName: string, reference: string): Promise<DeploymentView> {
    return this.#viewed(await this.#find(workspace, functionName, reference));
  }

  async activate(workspace: string, functionName: string, reference: string): Promise<DeploymentView> {
    const record = await this.#find(workspace, functionName, reference);
    try {
      await this.#workspaces.activate(workspace, functionName, record.version, { check: () => this.#checkReady(record) });
    } catch (error) {
      await this.#noteFailure(record, error);
      throw error;
    }
    return this.get(workspace, functionName, String(record.version));
  }

  async rollback(workspace: string, functionName: string): Promise<DeploymentView> {
    const records = await this.list(workspace, functionName);
    const active = records.find((each) => each.active);
    const before = records.find((each) => active !== undefined && each.version < active.version && each.state === "ready");
    if (before === undefined) {
      throw new TreadleError(
        "NOT_DEPLOYED",
        active === undefined
          ? `${functionName} has no active deployment to go back from.`
          : `${functionName} has no ready version before ${active.version}, the active one.`,
        { details: { workspace, function: functionName } },
      );
    }
    return this.activate(workspace, functionName, String(before.version));
  }

  async setAlias(workspace: string, functionName: string, alias: string, reference: string): Promise<DeploymentView> {
    if (!ALIAS.test(alias) || WORDS.has(alias)) {
      throw new TreadleError(
        "BAD_REQUEST",
        `${shown(alias)} cannot be an alias: use 1 to 64 letters, digits, "_", "-" or ".", starting with a letter; "active" and "latest" are taken.`,
        { details: { field: "alias" } },
      );
    }
    const { version } = await this.#find(workspace, functionName, reference);
    await this.#store.deployments.setAlias(workspace, functionName, alias, version);
    await this.#workspaces.refresh(workspace);
    return this.get(workspace, functionName, String(version));
  }

  async removeAlias(workspace: string, functionName: string, alias: string): Promise<void> {
    if (!(await this.#store.deployments.removeAlias(workspace, functionName, alias)))
      throw unknownDeployment(functionName, alias);
    await this.#workspaces.refresh(workspace);
  }

  async remove(workspace: string, functionName: string, reference: string): Promise<void> {
    const { version } = await this.#find(workspace, functionName, reference);
    await this.#store.deployments.remove(workspace, functionName, version);
    await this.#workspaces.refresh(workspace);
  }

  async cancel(workspace: string, functionName: string, reference: string): Promise<DeploymentView> {
    const { buildId, version } = await this.#find(workspace, functionName, reference);
    if (buildId !== null) await this.#builds.cancel(buildId);
    return this.get(workspace, functionName, String(version));
  }

  async *log(
    workspace: string,
    functionName: string,
    reference: string,
    after?: number,
    signal?: AbortSignal,
  ): AsyncIterable<BuildLogLine> {
    const { buildId } = await this.#find(workspace, functionName, reference);
    if (buildId !== null) yield* this.#builds.log(buildId, after, signal);
  }

  async diff(workspace: string, functionName: string, from: string, to: string): Promise<SourceDifference[]> {
    const records = await this.#store.deployments.list(workspace, functionName);
    const [a, b] = [from, to].map((reference) => found(records, functionName, reference));
    return sourceDifferences(await this.#sourceOf(a as DeploymentRecord), await this.#sourceOf(b as DeploymentRecord));
  }

  /** Resolves when no activation is under way any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const timer of this.#retries) clearTimeout(timer);
    await Promise.all(this.#settling);
  }

  async #find(workspace: string, functionName: string, reference: string): Promise<DeploymentRecord> {
    return found(await this.#store.deployments.list(workspace, functionName), functionName, reference);
  }

  async #viewed(record: DeploymentRecord): Promise<DeploymentView> {
    return viewOf(record, record.buildId === null ? null : await this.#builds.get(record.buildId));
  }

  async #sourceOf({ buildId, sourceDigest }: DeploymentRecord): Promise<ComparedSource> {
    if (buildId !== null) return sourceOfBuild(this.#builds, buildId);
    return sourceOfFiles((await this.#store.workspaces.sources(sourceDigest ?? "")) ?? []);
  }

  /** @throws NOT_DEPLOYED, BUILD_FAILED */
  async #checkReady({ buildId, function: name, version }: DeploymentRecord): Promise<void> {
    if (buildId === null) return;
    const build = await this.#builds.get(buildId);
    if (build?.state === "ready") return;
    const details = { function: name, version, state: build?.state ?? null, error: build?.error ?? null };
    if (build?.state === "failed") {
      throw new TreadleError("BUILD_FAILED", `Version ${version} of ${name} could not be built: ${build.error?.message ?? ""}`, {
        details,
      });
    }
    const state = build?.state === "cancelled" ? "was cancelled" : "is not ready yet";
    throw new TreadleError("NOT_DEPLOYED", `The build of version ${version} of ${name} ${state}.`, { details });
  }

  /** Activates the deployments that waited for a build, or for any that has ended. */
  #settle(buildId?: string): void {
    if (this.#closed) return;
    const work = this.#settleAll(buildId);
    this.#settling.add(work);
    void work.finally(() => this.#settling.delete(work));
  }

  async #settleAll(buildId?: string): Promise<void> {
    try {
      const waiting = await this.#store.deployments.waiting(buildId);
      const byWorkspace = Map.groupBy(waiting, ({ workspace }) => workspace);
      await Promise.all(
        [...byWorkspace.values()].map(async (group) => {
          for (const each of group) await this.#settleOne(each);
        }),
      );
    } catch (error) {
      this.#warn("deployments that are ready could not be activated; it is tried again", { err: error });
      this.#retry(buildId);
    }
  }

  async #settleOne(waiting: { workspace: string; function: string; version: number; buildId: string }): Promise<void> {
    const { workspace, function: name, version, buildId } = waiting;
    const build = await this.#builds.get(buildId);
    if (build === null || !hasEnded(build) || this.#closed) return;
    if (build.state !== "ready") {
      await this.#store.deployments.giveUpActivation(workspace, name, version, null);
      return;
    }
    try {
      const activated = await this.#workspaces.activate(workspace, name, version, { unlessNewer: true });
      if (activated === null) await this.#store.deployments.giveUpActivation(workspace, name, version, null);
    } catch (error) {
      if (isGone(error)) return;
      if (isPassing(error)) this.#retry(buildId);
      else await this.#store.deployments.giveUpActivation(workspace, name, version, problem(error));
    }
  }

  async #noteFailure({ workspace, function: name, version }: DeploymentRecord, error: unknown): Promise<void> {
    if (!isTreadleError(error) || isPassing(error) || isGone(error) || error.code === "NOT_DEPLOYED") return;
    await this.#store.deployments
      .giveUpActivation(workspace, name, version, problem(error))
      .catch((failure) => this.#warn("why an activation failed could not be stored", { err: failure }));
  }

  #retry(buildId?: string): void {
    if (this.#closed) return;
    const timer = setTimeout(() => {
      this.#retries.delete(timer);
      this.#settle(buildId);
    }, RETRY_MS).unref();
    this.#retries.add(timer);
  }
}

function found(records: readonly DeploymentRecord[], functionName: string, reference: string): DeploymentRecord {
  const wanted = reference.replace(/^@/, "");
  const record =
    records.find(({ aliases }) => aliases.includes(wanted)) ??
    (wanted === "latest"
      ? records[0]
      : wanted === "active"
        ? records.find(({ active }) => active)
        : /^\d{1,10}$/.test(wanted) && Number(wanted) <= LARGEST_VERSION
          ? records.find(({ version }) => version === Number(wanted))
          : undefined);
  if (record !== undefined) return record;
  if (wanted === "active") throw new TreadleError("NOT_DEPLOYED", `${functionName} has no active deployment yet.`);
  throw unknownDeployment(functionName, reference);
}

function viewOf(record: DeploymentRecord, build: Build | null): DeploymentView {
  const { workspace, function: name, version, active, aliases, language, contract, entrypoint, origin, createdAt } = record;
  const error = record.activationError as DeploymentView["activationError"];
  return {
    ...{ workspace, function: name, version, active, aliases, language, contract, entrypoint, origin, createdAt, build },
    activating: record.activateWhenReady,
    state: record.buildId === null ? "ready" : (build?.state ?? "cancelled"),
    settings: (record.settings ?? {}) as FunctionSettings,
    sourceDigest: record.sourceDigest ?? build?.sourceDigest ?? "",
    activationError: error === null ? null : { code: error.code, message: error.message },
  };
}

function originOf(input: SourceInput, source: Source): object {
  const folder = input.folder === undefined ? {} : { folder: input.folder };
  if (input.kind === "archive") return { kind: "upload", ...folder };
  const { url, ref } = input;
  return {
    ...{ kind: "git", url: withoutPassword(url), ...(ref === undefined ? {} : { ref }), ...folder },
    ...(source.commit === undefined ? {} : { commit: source.commit }),
  };
}

function withoutPassword(url: string): string {
  if (!URL.canParse(url)) return "";
  const parsed = new URL(url);
  parsed.username = "";
  parsed.password = "";
  return parsed.href;
}

function hasEnded({ state }: Build): boolean {
  return state === "ready" || state === "failed" || state === "cancelled";
}

/** Whether the function went away meanwhile. */
function isGone(error: unknown): boolean {
  return isTreadleError(error) && ["UNKNOWN_WORKSPACE", "UNKNOWN_FUNCTION", "UNKNOWN_DEPLOYMENT"].includes(error.code);
}

/** Whether the same may well work in a moment. */
function isPassing(error: unknown): boolean {
  return isTreadleError(error) && (error.code === "STORAGE_UNAVAILABLE" || error.code === "SERVER_BUSY");
}

function problem(error: unknown): { code: string; message: string } {
  if (!isTreadleError(error)) return { code: "INTERNAL", message: "Something went wrong inside Treadle." };
  return { code: error.code, message: error.message.slice(0, 2_000) };
}
