"""Runs inside a sandbox and tries what hostile code would. Prints a JSON object: attempt -> "refused: why" or "WORKED: what".

Argument: a JSON object with facts about the host that must be out of reach.
"""
import ctypes
import json
import mmap
import os
import platform
import signal
import socket
import struct
import sys

facts = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
results = {}

X86 = platform.machine() == "x86_64"
# name: (x86-64 number, arm64 number)
CALLS = {
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97),
    "setns": (308, 268), "clone": (56, 220), "clone3": (435, 435), "bpf": (321, 280), "io_uring_setup": (425, 425),
    "userfaultfd": (323, 282), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "perf_event_open": (298, 241), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "clock_settime": (227, 112), "settimeofday": (164, 170),
    "adjtimex": (159, 171), "clock_adjtime": (305, 266), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "sethostname": (170, 161), "setdomainname": (171, 162),
    "reboot": (169, 142), "swapon": (167, 224), "quotactl": (179, 60), "acct": (163, 89), "syslog": (103, 116),
    "personality": (135, 92), "fanotify_init": (300, 262), "pidfd_getfd": (438, 438), "open_tree": (428, 428),
    "fsopen": (430, 430), "move_mount": (429, 429), "mount_setattr": (442, 442), "memfd_secret": (447, 447),
    "kcmp": (312, 272), "setresuid": (117, 147), "setgroups": (116, 159), "capset": (126, 91), "vhangup": (153, 58),
    "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None),
}


def call(name, *arguments):
    number = CALLS[name][0 if X86 else 1]
    ctypes.set_errno(0)
    words = [a if isinstance(a, (bytes, ctypes.Array, ctypes.Structure)) or hasattr(a, "_obj") else ctypes.c_long(a) for a in arguments]
    answer = libc.syscall(ctypes.c_long(number), *words)
    if answer == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer


def attempt(name):
    def run(function):
        try:
            results[name] = f"WORKED: {function()!r}"
        except (OSError, ValueError) as error:
            results[name] = f"refused: {getattr(error, 'errno', None) or error}"
    return run


def system_call(name, *arguments, label=None):
    if CALLS[name][0 if X86 else 1] is not None:
        attempt(label or name)(lambda: call(name, *arguments))


# --- reach -------------------------------------------------------------------------------------------------------------

# First, before the attempts below leave descriptors of their own behind.
def descriptors():
    listing = os.open("/proc/self/fd", os.O_RDONLY)
    extra = [name for name in os.listdir(listing) if int(name) > 3 and int(name) != listing and os.path.exists(f"/proc/self/fd/{name}")]
    if not extra:
        raise ValueError("only 0 to 3")
    return {name: os.readlink(f"/proc/self/fd/{name}") for name in extra}

attempt("use inherited descriptors")(descriptors)

def look_for_secret():
    seen = 0
    for pid in [name for name in os.listdir("/proc") if name.isdigit()] + ["self"]:
        try:
            with open(f"/proc/{pid}/environ", "rb") as handle:
                if facts["secret"].encode() in handle.read():
                    return f"/proc/{pid}/environ"
            seen += 1
        except OSError:
            pass
    raise ValueError(f"not in {seen} files")


attempt("read the host's environment")(look_for_secret)
for path in facts["hiddenPaths"] + ["/etc/shadow", "/root", "/home", "/var", "/sys", "/boot", "/mnt", "/proc/kcore", "/proc/kmsg", "/sys/fs/cgroup"]:
    def read(path=path):
        return os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(16)
    attempt(f"read {path}")(read)

def other_root():
    # The reaper has the same root; what counts is that it is not the host's.
    names = os.listdir("/proc/1/root")
    if sorted(names) == sorted(os.listdir("/")):
        raise ValueError("the sandbox's own root")
    return names

attempt("read /proc/1/root")(other_root)

for directory in ["/", "/etc", "/usr", "/usr/lib", "/usr/bin", "/usr/lib/python3", "/run", "/run/treadle", "/dev", "/proc", "/code"]:
    attempt(f"write into {directory}")(lambda directory=directory: open(f"{directory}/written", "w").close())
for file in ["/etc/passwd", "/usr/bin/python3", "/code/attempts.py", "/proc/sys/kernel/hostname", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger",
             "/proc/self/uid_map", "/proc/self/oom_score_adj_below"]:
    attempt(f"write {file}")(lambda file=file: os.write(os.open(file, os.O_WRONLY), b"0 0 1\n"))

def through_symlink():
    os.symlink("/etc/shadow", "/tmp/link")
    return open("/tmp/link").read(8)

attempt("follow a symlink out of scratch")(through_symlink)
for device in ["kvm", "mem", "kmem", "port", "vda", "sda", "nvme0n1", "loop0", "loop-control", "fuse", "net/tun", "kmsg", "vsock"]:
    attempt(f"open /dev/{device}")(lambda device=device: os.open(f"/dev/{device}", os.O_RDONLY))
attempt("make a block device")(lambda: os.mknod("/tmp/disk", 0o60666, os.makedev(8, 0)))
attempt("make a character device")(lambda: os.mknod("/tmp/memory", 0o20666, os.makedev(1, 1)))


def connect(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(2)
        client.connect((host, port))
        return client.getpeername()


for host, port in [("169.254.169.254", 80), ("127.0.0.1", facts["port"]), ("::1", facts["port"]), ("::ffff:127.0.0.1", facts["port"]),
                   ("10.0.0.1", 80), ("192.168.0.1", 80), ("172.17.0.1", 80), ("fe80::1", 80), ("fd00:ec2::254", 80), ("1.1.1.1", 53)]:
    attempt(f"connect to {host}")(lambda host=host, port=port: connect(host, port))
for address in facts["hostAddresses"]:
    attempt(f"connect to the host's address {address}")(lambda address=address: connect(address, facts["port"]))


def connect_unix(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        return path


attempt("connect to an abstract socket of the host")(lambda: connect_unix("\0" + facts["abstractSocket"]))
attempt("connect to a socket file of the host")(lambda: connect_unix(facts["socketFile"]))
attempt("find a network device")(lambda: next(line for line in open("/proc/net/dev").read().split("\n")[2:] if line and "lo:" not in line) if
        [line for line in open("/proc/net/dev").read().split("\n")[2:] if line and "lo:" not in line] else (_ for _ in ()).throw(ValueError("only lo")))
attempt("signal the host's server")(lambda: os.kill(facts["pid"], signal.SIGUSR2))

def strangers():
    names = [open(f"/proc/{pid}/comm").read().strip() for pid in os.listdir("/proc") if pid.isdigit()]
    others = [name for name in names if name not in ("bwrap", "python3")]
    if not others:
        raise ValueError("only bwrap and python3")
    return others

attempt("see other processes")(strangers)

def privileges():
    status = open("/proc/self/status").read()
    held = [line for line in status.split("\n") if line.startswith("Cap") and int(line.split()[1], 16) != 0]
    if held or "NoNewPrivs:\t1" not in status or "Seccomp:\t2" not in status or os.getuid() == 0 or 0 in os.getgroups():
        return held or status
    raise ValueError("none")

attempt("hold a privilege")(privileges)

# --- privilege ---------------------------------------------------------------------------------------------------------

SIGCHLD = 17
buffer = ctypes.create_string_buffer(256)
system_call("mount", b"none", b"/tmp", b"tmpfs", 0, 0)
system_call("mount", b"/", b"/tmp", b"", 0x1000, 0, label="bind mount")
system_call("umount2", b"/tmp", 2)
system_call("pivot_root", b"/tmp", b"/tmp")
system_call("chroot", b"/tmp")
for name, flag in {"user": 0x10000000, "mount": 0x20000, "pid": 0x20000000, "net": 0x40000000, "ipc": 0x8000000, "uts": 0x4000000, "cgroup": 0x2000000, "time": 0x80}.items():
    system_call("unshare", flag, label=f"unshare {name} namespace")
    if flag != 0x80:
        def clone(flag=flag):
            pid = call("clone", flag | SIGCHLD, 0, 0, 0, 0)
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
            return pid
        attempt(f"clone with a new {name} namespace")(clone)
attempt("clone3 with a new user namespace")(lambda: call("clone3", struct.pack("11Q", 0x10000000, 0, 0, 0, SIGCHLD, 0, 0, 0, 0, 0, 0), 88))
attempt("setns")(lambda: call("setns", os.open("/proc/1/ns/mnt", os.O_RDONLY), 0))
system_call("setns", 0, 0, label="setns on stdin")
system_call("bpf", 0, buffer, 128)
system_call("io_uring_setup", 8, buffer)
system_call("userfaultfd", 1)
system_call("keyctl", 0, -3, 1)
system_call("add_key", b"user", b"name", b"data", 4, -3)
system_call("request_key", b"user", b"name", b"", 0)
system_call("perf_event_open", buffer, 0, -1, -1, 0)
system_call("kexec_load", 0, 0, 0, 0)
system_call("kexec_file_load", 0, 0, 0, b"", 0)
system_call("init_module", buffer, 256, b"")
system_call("finit_module", 0, b"", 0)
system_call("delete_module", b"loop", 0)
system_call("clock_settime", 0, struct.pack("qq", 1, 0))
system_call("settimeofday", struct.pack("qq", 1, 0), 0)
system_call("adjtimex", buffer)
system_call("clock_adjtime", 0, buffer)
system_call("ptrace", 0, 0, 0, 0, label="ptrace traceme")
system_call("ptrace", 16, 1, 0, 0, label="ptrace attach to pid 1")
system_call("ptrace", 16, facts["pid"], 0, 0, label="ptrace attach to the host's server")
system_call("process_vm_readv", 1, buffer, 1, buffer, 1, 0)
system_call("open_by_handle_at", 3, buffer, 0)
system_call("name_to_handle_at", -100, b"/", buffer, buffer, 0)
system_call("sethostname", b"mine", 4)
system_call("setdomainname", b"mine", 4)
system_call("reboot", 0xFEE1DEAD, 672274793, 0, 0)
system_call("swapon", b"/tmp/swap", 0)
system_call("quotactl", 0, b"/", 0, 0)
system_call("acct", b"/tmp/accounting")
system_call("syslog", 3, buffer, 256)
system_call("personality", 0x40000, label="personality without address randomisation")
system_call("fanotify_init", 0, 0)
system_call("pidfd_getfd", 0, 0, 0)
system_call("open_tree", -100, b"/", 1)
system_call("fsopen", b"tmpfs", 0)
system_call("move_mount", -100, b"/", -100, b"/tmp", 0)
system_call("mount_setattr", -100, b"/", 0, buffer, 32)
system_call("memfd_secret", 0)
system_call("kcmp", 1, 1, 0, 0, 0)
system_call("setresuid", 0, 0, 0)
system_call("setgroups", 1, struct.pack("i", 0))
system_call("capset", struct.pack("Ii", 0x20080522, 0), struct.pack("6I", *([0xFFFFFFFF] * 6)))
system_call("vhangup")
system_call("iopl", 3)
system_call("ioperm", 0x70, 1, 1)
system_call("modify_ldt", 1, buffer, 16)
attempt("setuid(0)")(lambda: os.setuid(0))
attempt("setgid(0)")(lambda: os.setgid(0))
for name, family, protocol in [("packet", 17, 0x300), ("vsock", 40, 0), ("alg", 38, 0), ("netlink audit", 16, 9), ("bluetooth", 31, 0), ("key", 15, 2), ("xdp", 44, 0)]:
    attempt(f"open a {name} socket")(lambda family=family, protocol=protocol: socket.socket(family, socket.SOCK_RAW, protocol))
attempt("open a raw IP socket")(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))

def push_into_terminal(request):
    import fcntl
    master, slave = os.openpty()
    fcntl.ioctl(slave, request, b"x")

attempt("TIOCSTI")(lambda: push_into_terminal(0x5412))
attempt("TIOCLINUX")(lambda: push_into_terminal(0x541C))

if X86:
    def x32():
        ctypes.set_errno(0)
        if libc.syscall(ctypes.c_long(0x40000000 | 39)) == -1:
            raise OSError(ctypes.get_errno(), "")
        return "getpid"
    attempt("call in the x32 convention")(x32)

    def thirty_two_bit():
        child = os.fork()
        if child == 0:
            code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
            code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, getpid; int 0x80; ret
            address = ctypes.addressof(ctypes.c_char.from_buffer(code))
            ctypes.CFUNCTYPE(ctypes.c_int)(address)()
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            raise ValueError(f"killed by signal {os.WTERMSIG(status)}")
        return status
    attempt("call in the 32-bit convention")(thirty_two_bit)

for program in facts["setuidPrograms"]:
    def run(program=program):
        reader, writer = os.pipe()
        pid = os.posix_spawn(program, [program, "-u"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)])
        os.waitpid(pid, 0)
        user = os.read(reader, 100).decode().strip()
        if user != "0":
            raise ValueError(f"ran as {user}")
        return user
    attempt("run a setuid root program")(run)

results["uid"] = os.getuid()
results["hostname"] = socket.gethostname()
print(json.dumps(results))
