import { existsSync, readFileSync, realpathSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { certificateBundle } from "../src/certificate-bundle.ts";
import type { RuntimeManifest } from "../src/runtime.ts";
import { shellTools } from "../src/shell-tools.ts";

/** Where things are inside a build. */
const SDK = "/toolchain/dart";
const RUNTIME = "/runtime/dart";
const MEBIBYTE = 1024 * 1024;

/** Dart, compiled ahead of time to one executable. */
export const manifest: RuntimeManifest = {
  language: "dart",
  async find() {
    const missing = (reason: string) => ({
      language: "dart",
      reason,
      remedy:
        "Unpack the Dart SDK 3.3 or newer (https://dart.dev/get-dart) into /usr/lib/dart, or name its folder in TREADLE_DART.",
    });
    const folder = sdkFolders().find((each) => existsSync(join(each, "bin/dart")) && existsSync(join(each, "version")));
    if (folder === undefined) return missing("No Dart SDK was found.");
    const sdk = realpathSync(folder);
    const version = readFileSync(join(sdk, "version"), "utf8").trim();
    const [major = 0, minor = 0] = version.split(".").map(Number);
    if (major < 3 || (major === 3 && minor < 3)) return missing(`Dart ${version} in ${sdk} is too old.`);

    const registry = URL.parse(process.env.PUB_HOSTED_URL || "https://pub.dev");
    // The SDK is mounted; what stands here brings the system's libraries along.
    const dart = { source: join(sdk, "bin/dart"), target: "/usr/bin/dart" };
    const certificates = certificateBundle();
    const step = {
      root: { executables: [...(await shellTools()), dart], system: ["/etc/ssl/certs"] },
      mounts: [
        { source: sdk, target: SDK, access: "read-only" as const },
        ...["server", "program.sh", "fetch.sh", "build.sh"].map(
          (name) => ({ source: join(import.meta.dirname, name), target: `${RUNTIME}/${name}`, access: "read-only" }) as const,
        ),
      ],
      environment: { PATH: `${SDK}/bin:/usr/bin:/bin`, LANG: "C.UTF-8" },
    };
    return {
      language: "dart",
      aliases: [],
      name: `dart-${major}.${minor}`,
      version,
      contracts: ["handler"],
      transports: ["http"],
      defaultEntrypoint: "lib/main.dart",
      fileEndings: [".dart"],
      markerFiles: ["pubspec.yaml"],
      root: {
        executables: [dart],
        system: ["/etc/ssl/certs", "/usr/share/ca-certificates", "/usr/share/zoneinfo", "/etc/localtime"],
      },
      mounts: [],
      command: ({ code }) => [`${code}/server`],
      environment: {},
      build: {
        manifestFiles: ["pubspec.yaml", "pubspec.lock"],
        fetch: {
          ...step,
          command: ["/bin/sh", `${RUNTIME}/fetch.sh`],
          mounts: [...step.mounts, ...certificates.mounts],
          environment: {
            ...step.environment,
            ...certificates.environment,
            ...(process.env.PUB_HOSTED_URL && { PUB_HOSTED_URL: process.env.PUB_HOSTED_URL }),
          },
          registries:
            registry === null ? [] : [`${registry.hostname}:${registry.port || (registry.protocol === "https:" ? "443" : "80")}`],
        },
        compile: { ...step, command: ["/bin/sh", `${RUNTIME}/build.sh`] },
        installer: null,
      },
      baseMemoryBytes: 32 * MEBIBYTE,
    };
  },
};

/** Folders in which an SDK may be; only the one of TREADLE_DART when that is set. */
function sdkFolders(): string[] {
  const chosen = process.env.TREADLE_DART;
  if (chosen) return [chosen];
  const onPath = (process.env.PATH ?? "").split(delimiter).flatMap((folder) => {
    try {
      return [dirname(dirname(realpathSync(join(folder, "dart"))))];
    } catch {
      return [];
    }
  });
  return ["/usr/lib/dart", "/opt/dart-sdk", "/usr/local/dart-sdk", ...onPath];
}
