export {
  createDependencyInstaller,
  type DependencyInstaller,
  type DependencyInstallerOptions,
  type InstallOptions,
} from "./dependency-installer.ts";
export { DEFAULT_DEPENDENCY_SETTINGS, type DependencySettings } from "./dependency-settings.ts";
export { type InferredManifest, inferManifest } from "./infer-manifest.ts";
export type { InstalledDependencies, InstallState, Package } from "./install-state.ts";
export type { ManifestFiles } from "./manifest-files.ts";
export { findUv } from "./python/find-uv.ts";
