import type { RootImage } from "../root/root-image.ts";
import type { SandboxSpec } from "../sandbox.ts";
import type { Bubblewrap } from "./machine.ts";

/** `root`: no user namespace, the sandbox gets a user id of its own; `user`: an unprivileged user namespace. */
export type Mode = "root" | "user";

/** Where the program that drops the last privileges lies inside (root mode). */
export const SETPRIV_TARGET = "/usr/lib/treadle/setpriv";
/** Where `env` lies inside; it sets variables that the program above must not see. */
export const ENV_TARGET = "/usr/lib/treadle/env";

/** User and group id inside, in user mode. */
export const USER_MODE_ID = 1000;

export const SECCOMP_FD = 9;
export const OPTIONS_FD = 4;
/** Where bubblewrap tells the host's id of the sandbox's pid 1, when asked. */
export const INFO_FD = 5;

/** Where `prlimit` lies inside; it bounds processes where no control group does (user mode). */
export const PRLIMIT_TARGET = "/usr/lib/treadle/prlimit";

/**
 * Variables that change what a dynamic loader or a C library does before `main`: glibc ignores them in setuid programs
 * (sysdeps/generic/unsecvars.h), and the privilege-dropping step must not see them either, since it still runs as root.
 */
const UNSAFE_WHILE_PRIVILEGED =
  /^(LD_.*|GLIBC_TUNABLES|GCONV_PATH|GETCONF_DIR|HOSTALIASES|LOCALDOMAIN|LOCPATH|MALLOC_.*|NIS_PATH|NLSPATH|RESOLV_HOST_CONF|RES_OPTIONS|TZDIR|LANGUAGE|OUTPUT_CHARSET)$/;

export interface Layout {
  readonly mode: Mode;
  readonly bubblewrap: Bubblewrap;
  readonly image: RootImage;
  readonly spec: SandboxSpec;
  readonly runDirectory: string;
  /** Host paths of the sandbox's own passwd and group file. */
  readonly accounts: { readonly passwd: string; readonly group: string };
  /** User id inside. */
  readonly userId: number;
  /** Limit of processes set by a program inside: only there, in the user namespace, it counts the sandbox alone. Null: not needed. */
  readonly innerProcesses: number | null;
}

function temporaryDirectory(bubblewrap: Bubblewrap, path: string, bytes: number): string[] {
  return [
    ...(bubblewrap.permissions ? ["--perms", "1777"] : []),
    ...(bubblewrap.sizedTmpfs ? ["--size", String(bytes)] : []),
    "--tmpfs",
    path,
  ];
}

/** Makes the directories above `target` that no mount provides, readable by the sandbox's user. */
function parents(bubblewrap: Bubblewrap, target: string, made: Set<string>, provided: readonly string[]): string[] {
  const options: string[] = [];
  const parts = target.split("/").slice(1, -1);
  let path = "";
  for (const part of parts) {
    path += `/${part}`;
    if (made.has(path) || provided.some((mount) => path === mount || path.startsWith(`${mount}/`))) continue;
    made.add(path);
    options.push(...(bubblewrap.permissions ? ["--perms", "0755"] : []), "--dir", path);
  }
  return options;
}

function environmentOptions(environment: Readonly<Record<string, string>>): string[] {
  const options = ["--clearenv"];
  for (const [name, value] of Object.entries(environment)) options.push("--setenv", name, value);
  return options;
}

/** Options of bubblewrap for one sandbox; the command follows them on its command line. */
export function bubblewrapOptions(layout: Layout): string[] {
  const { mode, bubblewrap, image, spec } = layout;
  const { environment } = splitEnvironment(mode, spec.environment);
  const options = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"];
  if (mode === "root") {
    // These three only live until setpriv has used them to give up everything, before user code starts.
    options.push("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP");
  } else {
    options.push("--unshare-user", "--uid", String(USER_MODE_ID), "--gid", String(USER_MODE_ID), "--cap-drop", "ALL");
    if (bubblewrap.disablesUserNamespaces) options.push("--disable-userns");
  }
  options.push("--hostname", "sandbox", "--die-with-parent", "--new-session", "--seccomp", String(SECCOMP_FD));
  options.push(...environmentOptions(environment));

  const provided = image.topLevel.map((name) => `/${name}`);
  for (const path of provided) options.push("--ro-bind", image.directory + path, path);
  for (const [path, target] of Object.entries(image.symlinks)) options.push("--symlink", target, path);
  for (const { source, target } of image.binds) options.push("--ro-bind", source, target);
  options.push("--ro-bind", layout.accounts.passwd, "/etc/passwd", "--ro-bind", layout.accounts.group, "/etc/group");

  options.push("--proc", "/proc", "--dev", "/dev");
  options.push(...temporaryDirectory(bubblewrap, "/dev/shm", spec.limits.scratchBytes), "--remount-ro", "/dev");
  options.push(...temporaryDirectory(bubblewrap, "/tmp", spec.limits.scratchBytes));
  const made = new Set<string>();
  provided.push("/proc", "/dev", "/tmp");
  options.push(...parents(bubblewrap, "/run/treadle", made, provided), "--ro-bind", layout.runDirectory, "/run/treadle");
  for (const { source, target, access } of spec.mounts) {
    options.push(...parents(bubblewrap, target, made, provided), access === "read-only" ? "--ro-bind" : "--bind", source, target);
  }
  options.push("--remount-ro", "/", "--chdir", spec.workingDirectory);
  return options;
}

/** In root mode some variables have to wait until the privileges are gone. */
function splitEnvironment(mode: Mode, all: Readonly<Record<string, string>>) {
  const environment: Record<string, string> = {};
  const late: string[] = [];
  for (const [name, value] of Object.entries(all)) {
    if (mode === "root" && UNSAFE_WHILE_PRIVILEGED.test(name)) late.push(`${name}=${value}`);
    else environment[name] = value;
  }
  return { environment, late };
}

/** The command bubblewrap starts: in root mode it first becomes the sandbox's user and gives up every capability for good. */
export function innerCommand(layout: Layout): string[] {
  const { mode, spec, userId } = layout;
  if (mode === "user") {
    return [
      ...(layout.innerProcesses === null ? [] : [PRLIMIT_TARGET, `--nproc=${layout.innerProcesses}`, "--"]),
      ...spec.command,
    ];
  }
  const { late } = splitEnvironment(mode, spec.environment);
  const id = String(userId);
  return [
    SETPRIV_TARGET,
    ...["--reuid", id, "--regid", id, "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"],
    ...(late.length > 0 ? [ENV_TARGET, "--", ...late] : []),
    ...spec.command,
  ];
}
