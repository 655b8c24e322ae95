import type { Files } from "@treadle/files";
import type { Runtime } from "@treadle/runtimes";
import type { SandboxDriver } from "@treadle/sandbox";
import type { Store } from "@treadle/store";
import type { DependencyInstaller } from "../dependencies/index.ts";
import type { BuildSettings } from "./build-settings.ts";
import type { LayerFolders } from "./layers/layer-folders.ts";
import type { StepGround } from "./steps/run-step.ts";

/** What every build is made with. */
export interface BuildTools {
  readonly store: Store;
  readonly files: Files;
  readonly driver: SandboxDriver;
  readonly installer: DependencyInstaller;
  readonly layers: LayerFolders;
  readonly settings: BuildSettings;
  /** Node, which npm and the way to registries need. */
  readonly node: Runtime;
  /** Folders of builds at work lie here. */
  readonly workDirectory: string;
}

/** One build at work. */
export interface BuildWork extends StepGround {
  /** What every step is told. */
  readonly environment: Readonly<Record<string, string>>;
}
