import { type BuildSettings, DEFAULT_BUILD_SETTINGS } from "@treadle/functions";
import type { Settings } from "./settings.ts";

const MEBIBYTE = 1024 * 1024;

/** What the operator decides about builds. */
export function buildSettings(settings: Settings): BuildSettings {
  return {
    ...DEFAULT_BUILD_SETTINGS,
    sourceMaxBytes: settings.sourceMaxBytes,
    sourceMaxFiles: settings.sourceMaxFiles,
    gitHosts: settings.gitHosts,
    gitTrusted: settings.gitTrusted,
    concurrent: settings.buildConcurrency ?? DEFAULT_BUILD_SETTINGS.concurrent,
    memoryBytes: settings.buildMemoryMegabytes * MEBIBYTE,
    timeoutMs: settings.buildTimeoutSeconds * 1000,
    cpus: settings.buildCpus,
    diskBytes: settings.buildDiskBytes,
    processes: settings.buildProcesses,
    artifactMaxBytes: settings.artifactMaxBytes,
    logBytes: settings.buildLogBytes,
    layersBytes: settings.layersBytes,
  };
}
