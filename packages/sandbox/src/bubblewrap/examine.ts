import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { openControlGroups } from "../cgroup/open-control-groups.ts";
import type { Finding } from "../sandbox.ts";
import { seccompFilter } from "../seccomp/filter.ts";
import { type Bubblewrap, findBubblewrap, findProgram } from "./machine.ts";

const run = promisify(execFile);

const DELEGATION = "systemd-run --user --scope -p Delegate=yes COMMAND (or as a system service with Delegate=yes)";

/** Ubuntu's own way to let one program make user namespaces (its AppArmor restriction is on by default since 24.04). */
const APPARMOR_PROFILE =
  "printf 'abi <abi/4.0>,\\ninclude <tunables/global>\\nprofile bwrap /usr/bin/bwrap flags=(unconfined) {\\n  userns,\\n}\\n' | sudo tee /etc/apparmor.d/bwrap && sudo apparmor_parser -r /etc/apparmor.d/bwrap";

function setting(name: string): string | null {
  try {
    return readFileSync(`/proc/sys/${name}`, "utf8").trim();
  } catch {
    return null;
  }
}

async function examineUserNamespaces(bubblewrap: Bubblewrap): Promise<Finding> {
  const name = "user namespaces";
  try {
    await run(bubblewrap.path, ["--ro-bind", "/", "/", "--unshare-user", "--unshare-net", "--unshare-pid", "--", "/bin/true"]);
    return { name, status: "ok", message: "An ordinary user may make them." };
  } catch (error) {
    const message = `They cannot be made: ${String((error as { stderr?: string }).stderr ?? error).trim()}`;
    if (setting("kernel/apparmor_restrict_unprivileged_userns") === "1") {
      return { name, status: "missing", message: `${message} AppArmor restricts them.`, remedy: APPARMOR_PROFILE };
    }
    if (setting("kernel/unprivileged_userns_clone") === "0") {
      return { name, status: "missing", message, remedy: "sudo sysctl -w kernel.unprivileged_userns_clone=1" };
    }
    if (setting("user/max_user_namespaces") === "0") {
      return { name, status: "missing", message, remedy: "sudo sysctl -w user.max_user_namespaces=15000" };
    }
    const remedy =
      "In a container: allow user namespaces and mounts (docker run --security-opt seccomp=unconfined --cap-add SYS_ADMIN)";
    return { name, status: "missing", message, remedy };
  }
}

function examineBubblewrap(bubblewrap: Bubblewrap | null): Finding {
  const name = "bubblewrap";
  if (!bubblewrap) {
    return { name, status: "missing", message: "It is not installed.", remedy: "sudo apt-get install -y bubblewrap" };
  }
  const { version, sizedTmpfs, disablesUserNamespaces } = bubblewrap;
  if (sizedTmpfs && disablesUserNamespaces) return { name, status: "ok", message: `Version ${version} at ${bubblewrap.path}.` };
  const lacks = [sizedTmpfs ? "" : "--size (0.7)", disablesUserNamespaces ? "" : "--disable-userns (0.8)"].filter(Boolean);
  return {
    name,
    status: "degraded",
    message: `Version ${version} lacks ${lacks.join(" and ")}; the memory limit and the seccomp filter cover for it.`,
    remedy: "Upgrade to bubblewrap 0.8 (Debian 12, Ubuntu 24.04)",
  };
}

function examineControlGroups(): Finding {
  const name = "control groups";
  const groups = openControlGroups(`treadle-examine-${process.pid}`);
  try {
    if (!groups) {
      return {
        name,
        status: "degraded",
        message: "This user may make none; rlimits and a memory watchdog take their place.",
        remedy: DELEGATION,
      };
    }
    const { version, controls } = groups;
    const missing = Object.entries(controls).filter(([, there]) => !there);
    if (missing.length === 0) return { name, status: "ok", message: `cgroup v${version} bounds memory, processes and CPU.` };
    const names = missing.map(([control]) => control).join(", ");
    return { name, status: "degraded", message: `cgroup v${version} does not bound: ${names}.`, remedy: DELEGATION };
  } finally {
    groups?.close();
  }
}

function examineSeccomp(): Finding {
  const name = "seccomp";
  if (seccompFilter(process.arch) === null) {
    return { name, status: "missing", message: `There is no filter for ${process.arch}; Treadle knows x64 and arm64.` };
  }
  if (setting("kernel/seccomp/actions_avail") === null) {
    return {
      name,
      status: "missing",
      message: "The kernel was built without seccomp filters.",
      remedy: "Use a kernel with CONFIG_SECCOMP_FILTER",
    };
  }
  return { name, status: "ok", message: `The filter for ${process.arch} can be loaded.` };
}

async function examineProgram(name: string, use: string): Promise<Finding> {
  const path = await findProgram(name);
  if (path !== null) return { name, status: "ok", message: `At ${path}.` };
  return { name, status: "missing", message: `It is not installed; ${use}.`, remedy: "sudo apt-get install -y util-linux" };
}

/** Bits of capabilities(7) that root mode uses before user code starts. Containers usually withhold some from their root. */
const ROOT_CAPABILITIES = { chown: 0, kill: 5, setgid: 6, setuid: 7, setpcap: 8, net_admin: 12, sys_admin: 21 };

function examineCapabilities(): Finding {
  const name = "capabilities";
  const match = /^CapEff:\s+([0-9a-f]+)/m.exec(readFileSync("/proc/self/status", "utf8"));
  const held = BigInt(`0x${match?.[1] ?? "0"}`);
  const missing = Object.entries(ROOT_CAPABILITIES).filter(([, bit]) => (held & (1n << BigInt(bit))) === 0n);
  if (missing.length === 0) return { name, status: "ok", message: "Root here has those that building a sandbox takes." };
  const names = missing.map(([capability]) => `CAP_${capability.toUpperCase()}`);
  const remedy = `docker run ${names.map((capability) => `--cap-add ${capability}`).join(" ")} --security-opt seccomp=unconfined --security-opt apparmor=unconfined`;
  return { name, status: "missing", message: `Root here lacks ${names.join(", ")}.`, remedy };
}

/** What the bubblewrap driver wants of this machine, without a driver: for when one cannot be created. */
export async function examineMachine(): Promise<Finding[]> {
  const bubblewrap = await findBubblewrap();
  const findings = [examineBubblewrap(bubblewrap)];
  if (process.geteuid?.() === 0) {
    findings.push({
      name: "mode",
      status: "ok",
      message: "As root: every sandbox gets a user id of its own, no user namespaces needed.",
    });
    findings.push(examineCapabilities());
    findings.push(await examineProgram("setpriv", "sandboxes could not give up root"));
  } else {
    findings.push({ name: "mode", status: "ok", message: "As an ordinary user: sandboxes are user namespaces." });
    if (bubblewrap) findings.push(await examineUserNamespaces(bubblewrap));
  }
  findings.push(examineControlGroups(), examineSeccomp());
  return findings;
}
