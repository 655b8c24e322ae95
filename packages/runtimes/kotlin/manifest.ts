import { join } from "node:path";
import { findJdk, type Jdk, javaCommand, jdkBuildRoot, jdkRoot } from "../java/find-jdk.ts";
import { mavenStep } from "../java/maven.ts";
import type { BuildStep, Runtime, RuntimeManifest } from "../src/runtime.ts";

const FOLDERS = join(import.meta.dirname, "..");
/** Where build sandboxes see this folder, and the Java runtime's beside it. */
const INSIDE = "/treadle/runtimes/kotlin";
/** Of the compiler that fetch.sh gets. */
const VERSION = "2.1.21";
const MEBIBYTE = 1024 * 1024;

/** Kotlin on a JDK 17 or newer, with the server of the Java runtime. The compiler is fetched by each build's fetch step, and kept with the dependencies. */
export const manifest: RuntimeManifest = {
  language: "kotlin",
  async find() {
    const jdk = findJdk();
    if (jdk === null)
      return {
        language: "kotlin",
        reason: "No JDK 17 or newer was found.",
        remedy: "apt-get install -y openjdk-17-jdk-headless maven",
      };
    return kotlinRuntime(jdk);
  },
};

async function kotlinRuntime(jdk: Jdk): Promise<Runtime> {
  const compile: BuildStep = {
    command: ["/bin/sh", `${INSIDE}/build.sh`],
    root: await jdkBuildRoot(jdk),
    mounts: ["java", "kotlin"].map((name) => ({
      source: join(FOLDERS, name),
      target: `/treadle/runtimes/${name}`,
      access: "read-only",
    })),
    environment: { JAVA_HOME: jdk.home, PATH: "/usr/bin:/bin", LANG: "C.UTF-8" },
  };
  return {
    language: "kotlin",
    aliases: ["kt"],
    name: `kotlin-${VERSION.split(".", 2).join(".")}-jdk-${jdk.major}`,
    version: VERSION,
    contracts: ["handler"],
    transports: ["http"],
    defaultEntrypoint: "Main.kt",
    fileEndings: [".kt"],
    markerFiles: [],
    root: jdkRoot(jdk),
    mounts: [],
    command: (launch) => javaCommand(jdk, "Main.kt", launch),
    environment: { JAVA_HOME: jdk.home, LANG: "C.UTF-8", HOME: "/tmp" },
    build: { manifestFiles: ["pom.xml", "dependencies.txt"], fetch: mavenStep(compile, INSIDE), compile, installer: null },
    baseMemoryBytes: 96 * MEBIBYTE,
  };
}
