import { TreadleError } from "@treadle/errors";
import type { Runtime } from "@treadle/runtimes";
import { shown } from "./names.ts";
import { isVariableName } from "./variables/variable-name.ts";

/** Limits and rights of one function, or of one of its versions, whose go first. What is absent takes the server's default. Sizes in bytes, times in ms. */
export interface FunctionSettings {
  /** Time limit of a call that is waited for. */
  readonly timeoutMs?: number;
  /** Time limit of an async or scheduled execution. */
  readonly asyncTimeoutMs?: number;
  /** Of an instance, with everything in it. */
  readonly memoryBytes?: number;
  /** Cores an instance may use. */
  readonly cpus?: number;
  /** Processes and threads of an instance. */
  readonly processes?: number;
  /** An instance's /tmp; it counts to its memory. */
  readonly scratchBytes?: number;
  /** Longest body of a request. */
  readonly requestBytes?: number;
  /** Calls one instance works on at a time. */
  readonly concurrency?: number;
  /** Instances it may scale out to; inline functions have one. */
  readonly maxInstances?: number;
  /** Executions it may have at a time, over all instances; more wait or are refused. */
  readonly concurrencyLimit?: ConcurrencyLimit;
  /** Hosts it may reach (`["*"]`: any public host); absent or empty: none. */
  readonly egress?: readonly string[];
  /** Whether it may be called over `/f/...` without the server's key. */
  readonly public?: boolean;
  /** Names of the workspace's secrets it gets. */
  readonly secrets?: readonly string[];
}

export interface ConcurrencyLimit {
  readonly max: number;
  /** Default: queue. */
  readonly whenFull?: "queue" | "reject";
}

/** Least and most of the numbers. */
export const SETTING_RANGES = {
  timeoutMs: [1, 2_147_483_647],
  asyncTimeoutMs: [1, 2_147_483_647],
  memoryBytes: [33_554_432, 1_099_511_627_776],
  cpus: [0.05, 1_024],
  processes: [16, 100_000],
  scratchBytes: [1_048_576, 1_099_511_627_776],
  requestBytes: [0, 1_099_511_627_776],
  concurrency: [1, 100_000],
  maxInstances: [1, 1_000],
} as const satisfies { readonly [Key in keyof FunctionSettings]?: readonly [number, number] };

const MOST_SECRETS = 200;
const MOST_HOSTS = 100;

/** Settings as they stand in a file, checked. @throws INVALID_DEPLOYMENT naming the one that is wrong */
export function checkedSettings(value: unknown, place: string): FunctionSettings {
  const refuse = (name: string, what: string): never => {
    throw new TreadleError("INVALID_DEPLOYMENT", `${place}: ${name} must be ${what}.`, { details: { setting: name } });
  };
  if (value === null || value === undefined) return {};
  if (typeof value !== "object" || Array.isArray(value)) return refuse("settings", "a mapping");
  for (const [name, each] of Object.entries(value)) {
    if (name in SETTING_RANGES) {
      const [least, most] = SETTING_RANGES[name as keyof typeof SETTING_RANGES];
      const whole = name === "cpus" || Number.isInteger(each);
      if (typeof each !== "number" || !whole || !(each >= least && each <= most))
        refuse(name, `${name === "cpus" ? "a" : "a whole"} number from ${least} to ${most}`);
    } else if (name === "public") {
      if (typeof each !== "boolean") refuse(name, "true or false");
    } else if (name === "egress") {
      if (!isListOf(each, MOST_HOSTS, (host) => host.length > 0 && host.length <= 253))
        refuse(name, `a list of at most ${MOST_HOSTS} hosts`);
    } else if (name === "secrets") {
      if (!isListOf(each, MOST_SECRETS, isVariableName)) refuse(name, `a list of at most ${MOST_SECRETS} names of secrets`);
    } else if (name === "concurrencyLimit") {
      if (!isConcurrencyLimit(each)) refuse(name, '{max: a number from 1, whenFull: "queue" or "reject"}');
    } else refuse(shown(name), "left out: there is no such setting");
  }
  return value as FunctionSettings;
}

/** @throws BAD_REQUEST when they ask for less than the runtime cannot do without */
export function checkSettingsFit(name: string, { memoryBytes }: FunctionSettings, runtime: Runtime): void {
  if (memoryBytes === undefined || memoryBytes >= runtime.baseMemoryBytes) return;
  throw new TreadleError(
    "BAD_REQUEST",
    `${name}: ${runtime.name} needs at least ${runtime.baseMemoryBytes} bytes of memory, memoryBytes is ${memoryBytes}.`,
    { details: { function: name, setting: "memoryBytes", leastBytes: runtime.baseMemoryBytes } },
  );
}

function isListOf(value: unknown, most: number, fits: (each: string) => boolean): boolean {
  return Array.isArray(value) && value.length <= most && value.every((each) => typeof each === "string" && fits(each));
}

function isConcurrencyLimit(value: unknown): value is ConcurrencyLimit {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const { max, whenFull, ...others } = value as Record<string, unknown>;
  return (
    Number.isInteger(max) &&
    (max as number) >= 1 &&
    (max as number) <= 1_000_000 &&
    (whenFull === undefined || whenFull === "queue" || whenFull === "reject") &&
    Object.keys(others).length === 0
  );
}
