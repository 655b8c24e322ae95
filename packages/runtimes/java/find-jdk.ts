import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import type { Launch, RuntimeRoot } from "../src/runtime.ts";
import { shellTools } from "../src/shell-tools.ts";

const MEBIBYTE = 1024 * 1024;
/** The least version with sockets of unix. */
const LEAST_MAJOR = 17;

/** A JDK of this machine. */
export interface Jdk {
  readonly home: string;
  readonly major: number;
  readonly version: string;
}

/** JAVA_HOME when it is set, else the one on PATH, else the oldest that will do of those the system has: null when there is none with a compiler. */
export function findJdk(): Jdk | null {
  const onPath = (process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, "javac"));
  const homes = [
    ...(process.env.JAVA_HOME
      ? [process.env.JAVA_HOME]
      : onPath.filter((file) => existsSync(file)).map((file) => dirname(dirname(realpathSync(file))))),
    ...installed("/usr/lib/jvm"),
  ];
  for (const home of homes) {
    const jdk = examine(home);
    if (jdk !== null) return jdk;
  }
  return null;
}

function installed(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const numbered = readdirSync(folder).map((name) => ({ name, major: Number(/(\d+)/.exec(name)?.[1] ?? 0) }));
  return numbered.sort((a, b) => a.major - b.major).map(({ name }) => join(folder, name));
}

function examine(home: string): Jdk | null {
  const release = join(home, "release");
  if (!existsSync(release) || !existsSync(join(home, "bin/javac")) || !existsSync(join(home, "lib/server/libjvm.so")))
    return null;
  const version = /^JAVA_VERSION="([\d.]+)/m.exec(readFileSync(release, "utf8"))?.[1] ?? "";
  const major = Number(version.split(".")[0]);
  return major >= LEAST_MAJOR ? { home, major, version } : null;
}

/** What a JVM needs of the system. Debian's JDK has its settings in /etc. */
export function jdkRoot({ home, major }: Jdk): RuntimeRoot {
  return {
    executables: [
      { source: join(home, "bin/java"), target: join(home, "bin/java") },
      // Enters the code folder, to which the class path is relative.
      { source: "/usr/bin/env", target: "/usr/bin/env" },
    ],
    system: [
      home,
      `/etc/java-${major}-openjdk`,
      "/etc/ssl/certs",
      "/usr/share/ca-certificates",
      "/usr/share/zoneinfo",
      "/etc/localtime",
    ],
  };
}

/** The root of a build: a shell and its tools, and the JDK. */
export async function jdkBuildRoot(jdk: Jdk): Promise<RuntimeRoot> {
  const java = join(jdk.home, "bin/java");
  return {
    executables: [...(await shellTools()), { source: java, target: java }],
    system: jdkRoot(jdk).system,
  };
}

/** The command that starts the server on what the build made, with a heap, and what else the JVM takes, that fit into the sandbox. */
export function javaCommand(jdk: Jdk, defaultEntrypoint: string, { heapBytes, code }: Launch): string[] {
  const heap = heapBytes === null ? 256 : Math.max(32, Math.floor(heapBytes / MEBIBYTE));
  return [
    "/usr/bin/env",
    "-C",
    code ?? "/code",
    join(jdk.home, "bin/java"),
    "@.treadle/java.args",
    "-XX:+UseSerialGC",
    "-Xshare:auto",
    "-Xlog:disable",
    "-Xlog:all=off",
    "-XX:-UsePerfData",
    `-Xmx${heap}m`,
    "-Xss1m",
    "-XX:MaxMetaspaceSize=128m",
    "-XX:ReservedCodeCacheSize=48m",
    "-XX:MaxDirectMemorySize=32m",
    "-Djdk.nio.maxCachedBufferSize=65536",
    `-Dtreadle.entrypoint=${defaultEntrypoint}`,
    "treadle.Main",
  ];
}
