import { DEFAULT_DEPENDENCY_SETTINGS, type DependencySettings, type FunctionsSettings } from "@treadle/functions";
import type { Settings } from "./settings.ts";

const MEBIBYTE = 1024 * 1024;
/** What a Node process needs besides its JavaScript heap: code, stacks, buffers, scratch. */
const BESIDES_HEAP_MEGABYTES = 156;

/** The functions capability's part of the settings. */
export function functionsSettings(settings: Settings): FunctionsSettings {
  return {
    timeoutMs: { default: settings.nodeTimeoutMs, node: settings.nodeTimeoutMs, python: settings.pythonTimeoutMs },
    handlerTimeoutMs: settings.handlerTimeoutMs,
    asyncTimeoutMs: settings.asyncTimeoutMs,
    waitMs: settings.waitTimeoutMs,
    maxInstances: settings.maxInstances,
    idleMs: settings.idleSeconds * 1000,
    prewarmed: settings.prewarmed,
    concurrency: settings.concurrency,
    maxInstancesPerFunction: settings.maxInstancesPerFunction,
    queueLength: settings.queueLength,
    heapBytes: settings.heapMegabytes * MEBIBYTE,
    memoryBytes: (settings.memoryMegabytes ?? settings.heapMegabytes + BESIDES_HEAP_MEGABYTES) * MEBIBYTE,
    deploymentMemoryBytes: settings.deploymentMemoryMegabytes * MEBIBYTE,
    processes: settings.processes,
    cpus: settings.cpus,
    scratchBytes: settings.scratchBytes,
    openFiles: settings.openFiles,
    requestBytes: settings.functionRequestMaxBytes,
    resultBytes: settings.resultMaxBytes,
    logBytes: settings.logMaxBytes,
    logEntryCharacters: settings.logEntryCharacters,
    recordBytes: settings.recordMaxCharacters,
    inferDependencies: settings.dependenciesInfer,
    allowedModules: settings.nodeBuiltinModules,
  };
}

/** What the operator decides about dependencies. */
export function dependencySettings(settings: Settings): DependencySettings {
  return {
    ...DEFAULT_DEPENDENCY_SETTINGS,
    allow: settings.dependenciesAllow.length === 0 ? null : settings.dependenciesAllow,
    deny: settings.dependenciesDeny,
    allowScripts: settings.dependenciesScripts,
    trustedHosts: settings.dependenciesHosts,
  };
}
