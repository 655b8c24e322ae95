import type { BuildStep, Runtime, RuntimeManifest } from "../src/runtime.ts";
import { findJdk, type Jdk, javaCommand, jdkBuildRoot, jdkRoot } from "./find-jdk.ts";
import { mavenStep } from "./maven.ts";

const FOLDER = import.meta.dirname;
/** Where build sandboxes see this folder. */
const INSIDE = "/treadle/runtimes/java";
const MEBIBYTE = 1024 * 1024;

/** Java on a JDK 17 or newer. The runtime server is compiled by each build, with the user's JDK. */
export const manifest: RuntimeManifest = {
  language: "java",
  async find() {
    const jdk = findJdk();
    if (jdk === null)
      return {
        language: "java",
        reason: "No JDK 17 or newer was found.",
        remedy: "apt-get install -y openjdk-17-jdk-headless maven",
      };
    return javaRuntime(jdk);
  },
};

async function javaRuntime(jdk: Jdk): Promise<Runtime> {
  const compile: BuildStep = {
    command: ["/bin/sh", `${INSIDE}/build.sh`],
    root: await jdkBuildRoot(jdk),
    mounts: [{ source: FOLDER, target: INSIDE, access: "read-only" }],
    environment: { JAVA_HOME: jdk.home, PATH: "/usr/bin:/bin", LANG: "C.UTF-8" },
  };
  return {
    language: "java",
    aliases: ["openjdk"],
    name: `java-${jdk.major}`,
    version: jdk.version,
    contracts: ["handler"],
    transports: ["http"],
    defaultEntrypoint: "Main.java",
    fileEndings: [".java"],
    markerFiles: ["pom.xml"],
    root: jdkRoot(jdk),
    mounts: [],
    command: (launch) => javaCommand(jdk, "Main.java", launch),
    environment: { JAVA_HOME: jdk.home, LANG: "C.UTF-8", HOME: "/tmp" },
    build: { manifestFiles: ["pom.xml", "dependencies.txt"], fetch: mavenStep(compile, INSIDE), compile, installer: null },
    baseMemoryBytes: 96 * MEBIBYTE,
  };
}
