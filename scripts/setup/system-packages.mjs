import { existsSync } from "node:fs";
import { findProgram, run } from "./programs.mjs";

/** What Treadle needs of the system, by Debian package. */
const NEEDS = [
  { debian: "bubblewrap", indispensable: true, why: "builds the sandboxes", present: () => findProgram("bwrap") },
  { debian: "util-linux", indispensable: true, why: "setpriv drops privileges", present: () => findProgram("setpriv") },
  { debian: "tar", indispensable: true, why: "unpacks Node 24", present: () => findProgram("tar") },
  {
    debian: "ca-certificates",
    indispensable: false,
    why: "lets installs in the sandbox check who the registry is",
    present: () => existsSync("/etc/ssl/certs/ca-certificates.crt"),
  },
  { debian: "python3", indispensable: false, why: "runs Python functions", present: () => findProgram("python3") },
];

/** Installs what is missing when it may, else says how. Throws when something indispensable cannot be had. */
export async function provideSystemPackages() {
  const missing = NEEDS.filter((need) => !need.present());
  if (missing.length === 0) return;
  const install = ["apt-get", "install", "-y", "--no-install-recommends", ...missing.map((need) => need.debian)];
  const apt = findProgram("apt-get");
  if (apt && process.getuid() === 0) {
    console.log(`setup: installing ${missing.map((need) => need.debian).join(", ")}`);
    await installWithApt(missing.map((need) => need.debian));
  }
  const still = missing.filter((need) => !need.present());
  for (const need of still) {
    console.error(`setup: ${need.indispensable ? "missing" : "warning: missing"}: ${need.debian} (${need.why})`);
  }
  if (still.length > 0) {
    const sudo = process.getuid() === 0 ? "" : "sudo ";
    console.error(
      apt
        ? `setup: run this, then try again:\n\n    ${sudo}apt-get update && ${sudo}${install.join(" ")}\n`
        : "setup: install these with this system's own package tool; the names above are Debian's.",
    );
  }
  if (still.some((need) => need.indispensable)) throw new Error("the system lacks a package that Treadle cannot do without");
}

/** Installs Debian packages; the caller must be root. Whether it worked is seen by what is there afterwards. */
export async function installWithApt(packages) {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  // Waits for another apt-get instead of failing on its lock. An update that fails for one of several sources is no reason to stop.
  const patience = ["-o", "DPkg::Lock::Timeout=300"];
  await run(["apt-get", ...patience, "-qq", "update"], { env });
  await run(["apt-get", ...patience, "-qq", "install", "-y", "--no-install-recommends", ...packages], { env });
}
