/** One attempt to break out. A body that returns something true has WORKED; one that throws, or returns nothing, was refused. */
export interface Attempt {
  readonly name: string;
  /** JavaScript body with `facts`, `fs` (all of it) and `builtin(name)`. */
  readonly node?: string;
  /** Python body with `facts`, `os`, `socket`, `ctypes`. */
  readonly python?: string;
}

const NET_NODE = (host: string, port: string) =>
  `return await new Promise((resolve, reject) => { const socket = builtin("net").connect({ host: ${host}, port: ${port} }, () => resolve("connected")); socket.on("error", reject); socket.setTimeout(1500, () => reject(new Error("silence"))); })`;
const NET_PYTHON = (host: string, port: string) =>
  `client = socket.socket(socket.AF_INET6 if ":" in ${host} else socket.AF_INET)\nclient.settimeout(1.5)\nclient.connect((${host}, ${port}))\nreturn "connected"`;

function connectTo(what: string, host: string, port: string): Attempt {
  return { name: `connect to ${what}`, node: NET_NODE(host, port), python: NET_PYTHON(host, port) };
}

function readFile(what: string, path: string): Attempt {
  return {
    name: `read ${what}`,
    node: `const path = ${path}; return fs.statSync(path).isDirectory() ? fs.readdirSync(path) : fs.readFileSync(path, "latin1").length`,
    python: `path = ${path}\nreturn os.listdir(path) if os.path.isdir(path) else len(open(path, "rb").read(64))`,
  };
}

function writeFile(path: string): Attempt {
  return {
    name: `write ${path}`,
    node: `fs.closeSync(fs.openSync(${JSON.stringify(path)}, "r+")); return "opened"`,
    python: `os.close(os.open(${JSON.stringify(path)}, os.O_WRONLY))\nreturn "opened"`,
  };
}

function createIn(folder: string): Attempt {
  return {
    name: `create a file in ${folder}`,
    node: `fs.writeFileSync(${JSON.stringify(folder)} + "/created", "x"); return "created"`,
    python: `open(${JSON.stringify(folder)} + "/created", "w").close()\nreturn "created"`,
  };
}

/** System calls by number: [x86-64, arm64]. */
const SYSTEM_CALLS: Readonly<Record<string, readonly [number, number, string]>> = {
  mount: [165, 40, 'b"none", b"/tmp", b"tmpfs", 0, 0'],
  umount2: [166, 39, 'b"/tmp", 2'],
  pivot_root: [155, 41, 'b"/tmp", b"/tmp"'],
  chroot: [161, 51, 'b"/tmp"'],
  "unshare user": [272, 97, "0x10000000"],
  "unshare mount": [272, 97, "0x20000"],
  "unshare net": [272, 97, "0x40000000"],
  "clone with a new user namespace": [56, 220, "0x10000000 | 17, 0, 0, 0, 0"],
  setns: [308, 268, "0, 0"],
  bpf: [321, 280, "0, buffer, 128"],
  io_uring_setup: [425, 425, "8, buffer"],
  userfaultfd: [323, 282, "1"],
  keyctl: [250, 219, "0, -3, 1"],
  add_key: [248, 217, 'b"user", b"name", b"data", 4, -3'],
  perf_event_open: [298, 241, "buffer, 0, -1, -1, 0"],
  kexec_load: [246, 104, "0, 0, 0, 0"],
  init_module: [175, 105, 'buffer, 256, b""'],
  clock_settime: [227, 112, "0, buffer"],
  settimeofday: [164, 170, "buffer, 0"],
  open_by_handle_at: [304, 265, "3, buffer, 0"],
  sethostname: [170, 161, 'b"mine", 4'],
  reboot: [169, 142, "0xFEE1DEAD, 672274793, 0, 0"],
  syslog: [103, 116, "3, buffer, 256"],
  ptrace: [101, 117, "16, 1, 0, 0"],
  process_vm_readv: [310, 270, "1, buffer, 1, buffer, 1, 0"],
  pidfd_getfd: [438, 438, "0, 0, 0"],
  setuid: [105, 146, "0"],
  capset: [126, 91, 'b"\\x22\\x05\\x08\\x20\\0\\0\\0\\0", b"\\xff" * 24'],
  personality: [135, 92, "0x40000"],
};

export const ATTEMPTS: readonly Attempt[] = [
  {
    name: "find the host's secret in the own environment",
    node: "return Object.values(process.env).some((value) => value.includes(facts.secret))",
    python: 'return any(facts["secret"] in value for value in os.environ.values())',
  },
  {
    name: "find the host's secret in the environment of any process",
    node: `for (const pid of fs.readdirSync("/proc").filter((name) => /^\\d+$|^self$/.test(name))) {
      let text = ""; try { text = fs.readFileSync("/proc/" + pid + "/environ", "latin1"); } catch {}
      if (text.includes(facts.secret)) return pid; }`,
    python: `for pid in [name for name in os.listdir("/proc") if name.isdigit() or name == "self"]:
    try:
        if facts["secret"].encode() in open("/proc/" + pid + "/environ", "rb").read():
            return pid
    except OSError:
        pass`,
  },
  {
    name: "find the host's secret in the command line or memory map of any process",
    node: `for (const pid of fs.readdirSync("/proc").filter((name) => /^\\d+$/.test(name))) for (const file of ["cmdline", "maps", "mountinfo"]) {
      let text = ""; try { text = fs.readFileSync("/proc/" + pid + "/" + file, "latin1"); } catch {}
      if (text.includes(facts.secret)) return pid + " " + file; }`,
    python: `for pid in [name for name in os.listdir("/proc") if name.isdigit()]:
    for file in ["cmdline", "maps", "mountinfo"]:
        try:
            if facts["secret"].encode() in open("/proc/" + pid + "/" + file, "rb").read():
                return pid + " " + file
        except OSError:
            pass`,
  },
  ...(
    [
      ["the bait", "facts.secretFile"],
      ["the database", "facts.dataDirectory + '/database/data/PG_VERSION'"],
      ["the data directory", "facts.dataDirectory"],
      ["other sandboxes' run folders", "facts.dataDirectory + '/sandbox/run'"],
      ["Treadle's own source", "facts.repository"],
      ["/etc/shadow", "'/etc/shadow'"],
      ["/root", "'/root'"],
      ["/home", "'/home'"],
      ["/var", "'/var'"],
      ["/sys", "'/sys'"],
      ["/boot", "'/boot'"],
      ["/proc/kcore", "'/proc/kcore'"],
      ["/proc/kmsg", "'/proc/kmsg'"],
      ["the root of process 1", "'/proc/1/root' + facts.secretFile"],
      ["the memory of process 1", "'/proc/1/mem'"],
      ["/dev/kvm", "'/dev/kvm'"],
      ["/dev/mem", "'/dev/mem'"],
      ["a disk", "facts.disk"],
      ["/dev/kmsg", "'/dev/kmsg'"],
      ["/dev/fuse", "'/dev/fuse'"],
      ["the Docker socket", "'/var/run/docker.sock'"],
    ] as const
  ).map(([what, path]) => {
    const attempt = readFile(what, path);
    return { ...attempt, python: attempt.python?.replaceAll(/facts\.(\w+)/g, 'facts["$1"]') };
  }),
  {
    name: "read it through a symbolic link in scratch",
    node: `fs.rmSync("/tmp/link", { force: true }); fs.symlinkSync(facts.secretFile, "/tmp/link"); return fs.readFileSync("/tmp/link", "utf8")`,
    python: `if os.path.lexists("/tmp/link"): os.unlink("/tmp/link")\nos.symlink(facts["secretFile"], "/tmp/link")\nreturn open("/tmp/link").read()`,
  },
  {
    name: "read it through /proc/self/fd and ..",
    node: `for (const fd of fs.readdirSync("/proc/self/fd")) { try { return fs.readFileSync("/proc/self/fd/" + fd + "/../../../../../../.." + facts.secretFile, "utf8"); } catch {} }`,
    python: `for fd in os.listdir("/proc/self/fd"):\n    try:\n        return open("/proc/self/fd/" + fd + "/../../../../../../.." + facts["secretFile"]).read()\n    except OSError:\n        pass`,
  },
  ...[
    "/",
    "/etc",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/run",
    "/run/treadle",
    "/runtime/node",
    "/treadle/runtimes/python",
    "/dev",
    "/proc",
    "/sys",
  ].map(createIn),
  ...[
    "/etc/passwd",
    "/usr/bin/node",
    "/usr/bin/python3.11",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/core_pattern",
    "/proc/sysrq-trigger",

    "/proc/1/oom_score_adj",
  ].map(writeFile),
  ...["uid_map", "gid_map", "setgroups"].map((name) => ({
    name: `write into /proc/self/${name}`,
    node: `fs.writeFileSync("/proc/self/${name}", ${name === "setgroups" ? '"allow"' : '"0 0 1\\n"'}); return "written"`,
    python: `os.write(os.open("/proc/self/${name}", os.O_WRONLY), ${name === "setgroups" ? 'b"allow"' : 'b"0 0 1\\n"'})\nreturn "written"`,
  })),
  connectTo("the bait on the loopback address", '"127.0.0.1"', "facts.port"),
  connectTo("the bait by IPv6", '"::1"', "facts.port"),
  connectTo("the bait by an IPv4-mapped address", '"::ffff:127.0.0.1"', "facts.port"),
  connectTo("the server itself", '"127.0.0.1"', "facts.serverPort"),
  connectTo("the host's own address", "facts.hostAddress", "facts.port"),
  connectTo("cloud metadata", '"169.254.169.254"', "80"),
  connectTo("cloud metadata by IPv6", '"fd00:ec2::254"', "80"),
  connectTo("a private address", '"10.0.0.1"', "80"),
  connectTo("another private address", '"192.168.0.1"', "80"),
  connectTo("a bridge of Docker", '"172.17.0.1"', "80"),
  connectTo("a public address", '"1.1.1.1"', "53"),
  connectTo("everybody", '"0.0.0.0"', "facts.port"),
  {
    name: "resolve a name",
    node: `return await builtin("dns").promises.lookup("example.com")`,
    python: 'return socket.getaddrinfo("example.com", 80)',
  },
  {
    name: "send a datagram",
    node: `return await new Promise((resolve, reject) => { const out = builtin("dgram").createSocket("udp4"); out.on("error", reject); out.send("x", facts.port, facts.hostAddress, (error) => (out.close(), error ? reject(error) : resolve("sent"))); })`,
    python: `socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (facts["hostAddress"], facts["port"]))\nreturn "sent"`,
  },
  {
    name: "connect to a socket file of the host",
    node: `return await new Promise((resolve, reject) => builtin("net").connect(facts.socketFile, () => resolve("connected")).on("error", reject))`,
    python: 'socket.socket(socket.AF_UNIX).connect(facts["socketFile"])\nreturn "connected"',
  },
  {
    name: "connect to an abstract socket of the host",
    node: `return await new Promise((resolve, reject) => builtin("net").connect("\\0" + facts.abstractSocket, () => resolve("connected")).on("error", reject))`,
    python: 'socket.socket(socket.AF_UNIX).connect("\\0" + facts["abstractSocket"])\nreturn "connected"',
  },
  {
    name: "connect to the database's socket",
    node: `return await new Promise((resolve, reject) => builtin("net").connect(facts.dataDirectory + "/database/data/.s.PGSQL.5432", () => resolve("connected")).on("error", reject))`,
    python: 'socket.socket(socket.AF_UNIX).connect(facts["dataDirectory"] + "/database/data/.s.PGSQL.5432")\nreturn "connected"',
  },
  {
    name: "see processes that are not of the sandbox",
    node: `const names = fs.readdirSync("/proc").filter((name) => /^\\d+$/.test(name)).map((pid) => { try { return fs.readFileSync("/proc/" + pid + "/comm", "utf8").trim() } catch { return "" } }); const others = names.filter((name) => !["bwrap", "node", "MainThread", ""].includes(name)); return others.length > 0 && others`,
    python: `names = [open("/proc/" + pid + "/comm").read().strip() for pid in os.listdir("/proc") if pid.isdigit()]\nreturn [name for name in names if name not in ("bwrap", "python3", "python3.11")]`,
  },
  {
    name: "signal the server",
    node: `process.kill(facts.serverPid, "SIGUSR2"); return "signalled"`,
    python: 'os.kill(facts["serverPid"], 12)\nreturn "signalled"',
  },
  {
    name: "use inherited descriptors",
    node: `return fs.readdirSync("/proc/self/fd").map((fd) => { try { return fs.readlinkSync("/proc/self/fd/" + fd) } catch { return "" } }).filter((target) => target.startsWith("/") && !/^\\/(dev\\/(null|urandom|random)|proc|runtime|tmp)/.test(target)).join()`,
    python: `targets = []
for fd in os.listdir("/proc/self/fd"):
    try:
        targets.append(os.readlink("/proc/self/fd/" + fd))
    except OSError:
        pass
return [target for target in targets if target.startswith("/") and not target.startswith(("/dev/null", "/dev/urandom", "/proc", "/treadle", "/tmp"))]`,
  },
  {
    name: "find a setuid program",
    node: `const found = []; const walk = (folder) => { for (const entry of fs.readdirSync(folder, { withFileTypes: true })) { const path = folder + "/" + entry.name; if (entry.isDirectory()) { if (!/^\\/(proc|sys)$/.test(path)) try { walk(path) } catch {} } else if (entry.isFile() && fs.statSync(path).mode & 0o6000) found.push(path) } }; walk(""  || "/."); return found.join()`,
    python: `found = []
for folder, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(folder, name) not in ("/proc", "/sys")]
    for name in files:
        path = os.path.join(folder, name)
        if not os.path.islink(path) and os.path.exists(path) and os.stat(path).st_mode & 0o6000:
            found.append(path)
return found`,
  },
  {
    name: "hold a privilege",
    node: `const status = fs.readFileSync("/proc/self/status", "utf8"); const held = status.split("\\n").filter((line) => /^Cap/.test(line) && !/\\t0+$/.test(line)); return process.getuid() === 0 || process.getgid() === 0 || process.getgroups().includes(0) || held.length > 0 || !/NoNewPrivs:\\t1/.test(status) || !/Seccomp:\\t2/.test(status) ? status : ""`,
    python: `status = open("/proc/self/status").read()
held = [line for line in status.split("\\n") if line.startswith("Cap") and int(line.split()[1], 16)]
return held or (os.getuid() == 0 or 0 in os.getgroups() or "NoNewPrivs:\\t1" not in status or "Seccomp:\\t2" not in status) and status`,
  },
  { name: "become root", node: 'process.setuid(0); return "root"', python: 'os.setuid(0)\nreturn "root"' },
  { name: "become another group", node: 'process.setgid(0); return "root"', python: 'os.setgid(0)\nreturn "root"' },
  {
    name: "run a shell",
    node: 'return builtin("child_process").execFileSync("/bin/sh", ["-c", "id"]).toString()',
    python: 'import subprocess\nreturn subprocess.check_output(["/bin/sh", "-c", "id"]).decode()',
  },
  { name: "make a device", python: 'os.mknod("/tmp/disk", 0o60666, os.makedev(8, 0))\nreturn "made"' },
  {
    name: "get a new privilege by a setuid copy",
    node: `fs.copyFileSync("/usr/bin/node", "/tmp/mine"); fs.chmodSync("/tmp/mine", 0o6755); const uid = builtin("child_process").execFileSync("/tmp/mine", ["-p", "process.geteuid()"]).toString().trim(); return uid === "0" && uid`,
  },
  {
    name: "push into a terminal",
    python: `import fcntl\nmaster, slave = os.openpty()\nfcntl.ioctl(slave, 0x5412, b"x")\nreturn "pushed"`,
  },
  {
    name: "open raw and odd sockets",
    python: `opened = []
for family, protocol in [(17, 0x300), (40, 0), (38, 0), (16, 9), (31, 0), (15, 2), (44, 0), (2, 1)]:
    try:
        socket.socket(family, socket.SOCK_RAW, protocol)
        opened.append(family)
    except OSError:
        pass
return opened`,
  },
  ...Object.entries(SYSTEM_CALLS).map(([name, [x86, arm, args]]) => ({
    name: `system call ${name}`,
    python: `import platform
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(256)
number = ${x86} if platform.machine() == "x86_64" else ${arm}
words = [ctypes.c_long(one) if isinstance(one, int) else one for one in (${args},)]
answer = libc.syscall(ctypes.c_long(number), *words)
# What is refused is refused for lack of permission, not because the arguments happen to be wrong.
return answer != -1 or ctypes.get_errno() not in (1, 13, 38) and "errno " + str(ctypes.get_errno())`,
  })),
];

const NODE_HEAD = 'const builtin = (name) => process.getBuiltinModule(name); const fs = builtin("fs");';
const PYTHON_HEAD = "import ctypes, os, socket";

/** The body of an inline function that makes the attempt and tells what came of it. */
export function inlineBody(attempt: Attempt, language: "node" | "python"): string {
  if (language === "node") {
    return `${NODE_HEAD}\ntry { const got = await (async () => { ${attempt.node} })(); return got ? { worked: got } : { refused: "nothing there" } } catch (error) { return { refused: String(error) } }`;
  }
  return `${PYTHON_HEAD}
def attempt():
${indented(attempt.python ?? "")}
try:
    got = attempt()
    return {"worked": repr(got)} if got else {"refused": "nothing there"}
except Exception as error:
    return {"refused": repr(error)}`;
}

/** A handler's file that makes the attempt named in the request's body. */
export function handlerFile(language: "node" | "python"): string {
  if (language === "node") {
    const table = ATTEMPTS.filter((each) => each.node).map(
      (each) => `${JSON.stringify(each.name)}: async (facts) => { ${each.node} }`,
    );
    return `${NODE_HEAD}\nconst attempts = { ${table.join(",\n")} };
module.exports = async ({ req, res }) => {
  const { name, facts } = req.bodyJson;
  try { const got = await attempts[name](facts); return res.json(got ? { worked: got } : { refused: "nothing there" }) } catch (error) { return res.json({ refused: String(error) }) }
};`;
  }
  const table = ATTEMPTS.filter((each) => each.python).map(
    (each, index) =>
      `def attempt_${index}(facts):\n${indented(each.python ?? "")}\nattempts[${JSON.stringify(each.name)}] = attempt_${index}\n`,
  );
  return `${PYTHON_HEAD}\nattempts = {}\n${table.join("\n")}
def main(context):
    asked = context.req.body_json
    try:
        got = attempts[asked["name"]](asked["facts"])
        return context.res.json({"worked": repr(got)} if got else {"refused": "nothing there"})
    except Exception as error:
        return context.res.json({"refused": repr(error)})
`;
}

function indented(text: string): string {
  return text.replaceAll(/^/gm, "    ");
}
