import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { BuildPlan, BuildStep, RuntimeMount } from "../src/runtime.ts";

/** Where the build sandbox sees the operator's Maven settings: a mirror, credentials. User code is never run there. */
const SETTINGS = "/treadle/maven-settings.xml";
const CENTRAL = "repo.maven.apache.org:443";

/**
 * The step that fetches jars with Debian's Maven, which needs its own plugins besides. A Maven that is missing is told by the script, to those who need it.
 * @param base a step whose root, mounts and environment are to be extended
 */
export function mavenStep(base: BuildStep, folder: string): NonNullable<BuildPlan["fetch"]> {
  const settings = join(homedir(), ".m2/settings.xml");
  const hasSettings = existsSync(settings);
  const mount: RuntimeMount = { source: settings, target: SETTINGS, access: "read-only" };
  return {
    command: ["/bin/sh", `${folder}/fetch.sh`],
    root: {
      executables: base.root.executables,
      system: [...base.root.system, "/usr/share/maven", "/usr/share/java", "/etc/maven"],
    },
    mounts: hasSettings ? [...base.mounts, mount] : base.mounts,
    environment: hasSettings ? { ...base.environment, TREADLE_MAVEN_SETTINGS: SETTINGS } : base.environment,
    registries: hasSettings ? [CENTRAL, ...mirrors(readFileSync(settings, "utf8"))] : [CENTRAL],
  };
}

/** `host:port` of the addresses in a settings file. */
function mirrors(text: string): string[] {
  const addresses = [...text.matchAll(/<url>\s*(https?:\/\/[^<\s]+)\s*<\/url>/g)].map(([, address]) =>
    URL.parse(address as string),
  );
  return addresses.flatMap((url) =>
    url === null ? [] : [`${url.hostname}:${url.port || (url.protocol === "https:" ? "443" : "80")}`],
  );
}
