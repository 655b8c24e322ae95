import { expect, test } from "vitest";
import { seccompFilter } from "../src/seccomp/filter.ts";
import { ARM64_SYSCALLS } from "../src/seccomp/syscalls-arm64.ts";
import { X86_64_SYSCALLS } from "../src/seccomp/syscalls-x86-64.ts";

const AUDIT = { x64: 0xc000003e, arm64: 0xc00000b7, i386: 0x40000003, arm: 0x40000028 };
const TABLES = { x64: X86_64_SYSCALLS, arm64: ARM64_SYSCALLS };

interface Call {
  readonly architecture: number;
  readonly number: number;
  readonly arguments?: readonly bigint[];
}

/** Runs a filter as the kernel's interpreter would (bpf(4)), over `struct seccomp_data`. */
function interpret(filter: Buffer, call: Call): number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(call.number >>> 0, 0);
  data.writeUInt32LE(call.architecture, 4);
  for (const [index, value] of (call.arguments ?? []).entries()) data.writeBigUInt64LE(BigInt.asUintN(64, value), 16 + index * 8);
  let accumulator = 0;
  for (let at = 0; ; at++) {
    if (at * 8 + 8 > filter.length) throw new Error("ran off the end");
    const code = filter.readUInt16LE(at * 8);
    const [jumpTrue, jumpFalse, operand] = [
      filter.readUInt8(at * 8 + 2),
      filter.readUInt8(at * 8 + 3),
      filter.readUInt32LE(at * 8 + 4),
    ];
    if (code === 0x20) accumulator = data.readUInt32LE(operand);
    else if (code === 0x06) return operand;
    else if (code === 0x05) at += operand;
    else if (code === 0x15) at += accumulator === operand ? jumpTrue : jumpFalse;
    else if (code === 0x35) at += accumulator >= operand ? jumpTrue : jumpFalse;
    else if (code === 0x45) at += (accumulator & operand) !== 0 ? jumpTrue : jumpFalse;
    else throw new Error(`no such instruction: ${code}`);
  }
}

const ALLOW = 0x7fff0000;
const KILL = 0x80000000;
const EPERM = 0x00050001;
const ENOSYS = 0x00050026;
const EAFNOSUPPORT = 0x00050061;

function verdict(architecture: "x64" | "arm64", name: string, ...values: (number | bigint)[]): number {
  const number = TABLES[architecture].get(name);
  if (number === undefined) throw new Error(`${architecture} has no ${name}`);
  const filter = seccompFilter(architecture) as Buffer;
  return interpret(filter, { architecture: AUDIT[architecture], number, arguments: values.map(BigInt) });
}

test.each(["x64", "arm64"] as const)("%s: what programs live on is allowed, what is dangerous refused", (architecture) => {
  for (const name of [
    "read",
    "write",
    "openat",
    "execve",
    "exit_group",
    "futex",
    "mmap",
    "wait4",
    "setresuid",
    "setgroups",
    "capset",
    "statx",
    "getrandom",
    "rseq",
    "epoll_pwait",
    "accept4",
    "prctl",
    "mseal",
    "fstat",
    "lseek",
  ]) {
    expect([name, verdict(architecture, name)]).toEqual([name, ALLOW]);
  }
  for (const name of [
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "unshare",
    "setns",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "keyctl",
    "add_key",
    "request_key",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "open_by_handle_at",
    "clock_settime",
    "settimeofday",
    "adjtimex",
    "swapon",
    "reboot",
    "sethostname",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "pidfd_getfd",
    "fsopen",
    "open_tree",
    "move_mount",
    "mount_setattr",
    "syslog",
    "quotactl",
    "acct",
  ]) {
    expect([name, verdict(architecture, name)]).toEqual([name, EPERM]);
  }
  expect(verdict(architecture, "clone3")).toBe(ENOSYS);
  expect(verdict(architecture, "statmount")).toBe(ENOSYS);
});

test.each(["x64", "arm64"] as const)("%s: arguments are looked at, their upper halves have no say", (architecture) => {
  const threads = 0x3d0f00;
  expect(verdict(architecture, "clone", threads)).toBe(ALLOW);
  for (const flag of [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]) {
    expect(verdict(architecture, "clone", flag | 17)).toBe(EPERM);
    expect(verdict(architecture, "clone", (0x1234n << 32n) | BigInt(flag))).toBe(EPERM);
  }
  for (const family of [1, 2, 10]) expect(verdict(architecture, "socket", family, 1, 0)).toBe(ALLOW);
  expect(verdict(architecture, "socket", (1n << 32n) | 2n, 1, 0)).toBe(ALLOW);
  expect(verdict(architecture, "socket", 16, 3, 0)).toBe(ALLOW);
  expect(verdict(architecture, "socket", 16, 3, 9)).toBe(EPERM);
  for (const family of [17, 38, 40, 44]) expect(verdict(architecture, "socket", family, 3, 0)).toBe(EAFNOSUPPORT);
  expect(verdict(architecture, "ioctl", 1, 0x5401)).toBe(ALLOW);
  for (const request of [0x5412, 0x541c]) {
    expect(verdict(architecture, "ioctl", 1, request)).toBe(EPERM);
    // CVE-2019-7303: a filter that compares 64 bits is passed by setting one of the upper ones.
    expect(verdict(architecture, "ioctl", 1, (1n << 32n) | BigInt(request))).toBe(EPERM);
  }
  expect(verdict(architecture, "personality", 0)).toBe(ALLOW);
  expect(verdict(architecture, "personality", 0xffffffff)).toBe(ALLOW);
  expect(verdict(architecture, "personality", 0x40000)).toBe(EPERM);
});

test.each(["x64", "arm64"] as const)("%s: every number has a verdict; unknown ones are not implemented", (architecture) => {
  const filter = seccompFilter(architecture) as Buffer;
  const known = new Set(TABLES[architecture].values());
  for (let number = 0; number < 1024; number++) {
    const result = interpret(filter, { architecture: AUDIT[architecture], number });
    if (!known.has(number)) expect([number, result]).toEqual([number, ENOSYS]);
  }
  for (const number of [0x40000000, 0x40000000 + 59, 0x7fffffff, 0xffffffff]) {
    expect(interpret(filter, { architecture: AUDIT[architecture], number })).toBe(ENOSYS);
  }
});

test("calls of another architecture kill", () => {
  for (const architecture of [AUDIT.i386, AUDIT.arm, AUDIT.arm64, 0]) {
    expect(interpret(seccompFilter("x64") as Buffer, { architecture, number: 0 })).toBe(KILL);
  }
  for (const architecture of [AUDIT.i386, AUDIT.arm, AUDIT.x64]) {
    expect(interpret(seccompFilter("arm64") as Buffer, { architecture, number: 0 })).toBe(KILL);
  }
  expect(seccompFilter("riscv64")).toBeNull();
});

test("the tables have the numbers of the kernel's", () => {
  const x64 = {
    read: 0,
    clone: 56,
    execve: 59,
    kexec_load: 246,
    openat: 257,
    setns: 308,
    kexec_file_load: 320,
    statx: 332,
    pidfd_send_signal: 424,
    clone3: 435,
    mseal: 462,
  };
  const arm64 = {
    io_setup: 0,
    fcntl: 25,
    ioctl: 29,
    mount: 40,
    openat: 56,
    lseek: 62,
    newfstatat: 79,
    fstat: 80,
    unshare: 97,
    ptrace: 117,
    socket: 198,
    clone: 220,
    execve: 221,
    mmap: 222,
    wait4: 260,
    setns: 268,
    bpf: 280,
    statx: 291,
    pidfd_send_signal: 424,
    io_uring_setup: 425,
    clone3: 435,
    mseal: 462,
  };
  for (const [name, number] of Object.entries(x64)) expect([name, X86_64_SYSCALLS.get(name)]).toEqual([name, number]);
  for (const [name, number] of Object.entries(arm64)) expect([name, ARM64_SYSCALLS.get(name)]).toEqual([name, number]);
});
