// Runs inside a sandbox under Node and tries what hostile code would; see attempts.py for the form of what it prints.
import { spawnSync } from "node:child_process";
import { lookup } from "node:dns/promises";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";

const facts = JSON.parse(process.argv[2]);
const results = {};

async function attempt(name, action) {
  try {
    results[name] = `WORKED: ${JSON.stringify(await action())}`;
  } catch (error) {
    results[name] = `refused: ${error.code ?? error.message}`;
  }
}

function connect(target) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(target, () => resolve(target)).on("error", reject);
    socket.setTimeout(2000, () => socket.destroy(new Error("timeout")));
  });
}

await attempt("read the host's environment", () => {
  for (const pid of fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      if (fs.readFileSync(`/proc/${pid}/environ`, "latin1").includes(facts.secret)) return pid;
    } catch {}
  }
  if (JSON.stringify(process.env).includes(facts.secret)) return "process.env";
  throw new Error("not there");
});
for (const path of [...facts.hiddenPaths, "/etc/shadow", "/root", "/home", "/var", "/sys"]) {
  await attempt(`read ${path}`, () => (fs.statSync(path).isDirectory() ? fs.readdirSync(path) : fs.readFileSync(path)).length);
}
for (const directory of ["/", "/etc", "/usr", "/usr/bin", "/run", "/run/treadle", "/dev", "/code"]) {
  await attempt(`write into ${directory}`, () => fs.writeFileSync(`${directory}/written`, ""));
}
await attempt("follow a symlink out of scratch", () => {
  fs.symlinkSync(facts.hiddenPaths[0], "/tmp/link");
  return fs.readdirSync("/tmp/link");
});
for (const host of ["169.254.169.254", "127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "1.1.1.1", ...facts.hostAddresses]) {
  await attempt(`connect to ${host}`, () => connect({ host, port: facts.port }));
}
await attempt("connect to an abstract socket of the host", () => connect({ path: `\0${facts.abstractSocket}` }));
await attempt("connect to a socket file of the host", () => connect({ path: facts.socketFile }));
await attempt("resolve a name", () => lookup("example.com"));
await attempt("signal the host's server", () => process.kill(facts.pid, "SIGUSR2"));
await attempt("setuid(0)", () => process.setuid(0));
await attempt("run a shell", () => {
  for (const shell of ["/bin/sh", "/bin/bash", "/usr/bin/sh", "/busybox"])
    if (spawnSync(shell, ["-c", "true"]).status === 0) return shell;
  throw new Error("there is none");
});
await attempt("regain privileges with the program that gave them up", () => {
  const { status, stderr } = spawnSync("/usr/lib/treadle/setpriv", ["--reuid", "0", "/usr/lib/treadle/env"], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(stderr?.trim() || "not there");
});
await attempt("use a network device", () => {
  const names = Object.keys(os.networkInterfaces()).filter((name) => name !== "lo");
  if (names.length === 0) throw new Error("only lo");
  return names;
});
results.uid = process.getuid();
results.hostname = os.hostname();
console.log(JSON.stringify(results));
