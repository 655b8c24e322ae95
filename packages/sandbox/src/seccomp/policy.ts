import { type Code, ifAnyBit, ifOneOf, load, verdict } from "./assembler.ts";

const ERRNO = 0x00050000;
const EPERM = 1;
const ENOSYS = 38;
const EAFNOSUPPORT = 97;

export const KILL = verdict(0x80000000);
export const ALLOW = verdict(0x7fff0000);
export const REFUSE = verdict(ERRNO | EPERM);
/** Programs take "not implemented" as the reason to use an older call; so this is the answer to everything unknown. */
export const UNKNOWN = verdict(ERRNO | ENOSYS);

/** Offset in `struct seccomp_data` of the low half of an argument (both architectures are little-endian). */
function argument(index: number): number {
  return 16 + index * 8;
}

/**
 * What programs may call. Start was the list every container gets from Docker (moby/profiles, seccomp/default.json); left
 * out of it are: io_uring (a second way in past this filter), ptrace and its kin, modify_ldt, memfd_secret, handles to
 * files, and the clock.
 * The calls that change ids and capabilities stay: the step that gives up the last privileges needs them, and without
 * capabilities they give nothing.
 */
const ALLOWED = `
  accept accept4 access alarm arch_prctl bind brk cachestat capget capset chdir chmod chown clock_getres clock_gettime
  clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl
  epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64
  fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fork fremovexattr
  fsetxattr fstat fstatfs fsync ftruncate futex futex_requeue futex_wait futex_waitv futex_wake futimesat getcpu
  getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid
  getpriority getrandom getresgid getresuid getrlimit get_robust_list getrusage getsid getsockname getsockopt gettid
  gettimeofday getuid getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy
  io_getevents io_pgetevents ioprio_get ioprio_set io_setup io_submit kill landlock_add_rule landlock_create_ruleset
  landlock_restrict_self lchown lgetxattr link linkat listen listxattr llistxattr lremovexattr lseek lsetxattr lstat
  madvise map_shadow_stack membarrier memfd_create mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mprotect
  mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync
  munlock munlockall munmap nanosleep newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2
  pkey_alloc pkey_free pkey_mprotect poll ppoll prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pwrite64
  pwritev pwritev2 read readahead readlink readlinkat readv recvfrom recvmmsg recvmsg remap_file_pages removexattr rename
  renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
  rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max
  sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam
  sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop sendfile sendmmsg sendmsg sendto setfsgid
  setfsuid setgid setgroups setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit set_robust_list
  setsid setsockopt set_tid_address setuid setxattr shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4
  socketpair splice stat statfs statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create
  timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill
  truncate umask uname unlink unlinkat utime utimensat utimes vfork vmsplice wait4 waitid write writev`;

/** Known and dangerous, or of use only to administrators: "not permitted", so that the reason is plain to the caller. */
const REFUSED = `
  acct add_key adjtimex bpf chroot clock_adjtime clock_settime create_module delete_module fanotify_init fanotify_mark
  finit_module fsconfig fsmount fsopen fspick get_mempolicy init_module io_uring_enter io_uring_register io_uring_setup
  ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie mbind memfd_secret migrate_pages modify_ldt mount
  mount_setattr move_mount move_pages name_to_handle_at nfsservctl open_by_handle_at open_tree open_tree_attr
  perf_event_open pidfd_getfd pivot_root process_madvise process_vm_readv process_vm_writev ptrace quotactl quotactl_fd
  reboot request_key set_mempolicy set_mempolicy_home_node setdomainname sethostname setns settimeofday swapoff swapon
  syslog umount2 unshare userfaultfd vhangup`;

const NEW_NAMESPACE_FLAGS = 0x7e020000;
const UNIX = 1;
const INET = 2;
const INET6 = 10;
const NETLINK = 16;
const NETLINK_ROUTE = 0;
const TIOCSTI = 0x5412;
const TIOCLINUX = 0x541c;
/** PER_LINUX, PER_LINUX32, each with and without UNAME26, and the query. */
const PERSONALITIES = [0, 8, 0x20000, 0x20008, 0xffffffff];

/** The kernel reads all of these arguments as 32 bits, so the upper half of the register has no say. */
const BY_ARGUMENT: Readonly<Record<string, Code>> = {
  clone: load(argument(0), ifAnyBit(NEW_NAMESPACE_FLAGS, REFUSE, ALLOW)),
  // Its flags lie in memory, where a filter cannot look; C libraries fall back to clone.
  clone3: UNKNOWN,
  // What glibc's getifaddrs and name lookups use; other families are large, rarely used and a source of kernel flaws.
  socket: load(
    argument(0),
    ifOneOf(
      [UNIX, INET, INET6],
      ALLOW,
      ifOneOf([NETLINK], load(argument(2), ifOneOf([NETLINK_ROUTE], ALLOW, REFUSE)), verdict(ERRNO | EAFNOSUPPORT)),
    ),
  ),
  // Both put keystrokes into the terminal from which the server was started.
  ioctl: load(argument(1), ifOneOf([TIOCSTI, TIOCLINUX], REFUSE, ALLOW)),
  personality: load(argument(0), ifOneOf(PERSONALITIES, ALLOW, REFUSE)),
};

/** What becomes of each system call, by name; calls that are not here are answered as unknown. */
export function callRules(): ReadonlyMap<string, Code> {
  const rules = new Map<string, Code>();
  for (const name of ALLOWED.trim().split(/\s+/)) rules.set(name, ALLOW);
  for (const name of REFUSED.trim().split(/\s+/)) rules.set(name, REFUSE);
  for (const [name, code] of Object.entries(BY_ARGUMENT)) rules.set(name, code);
  return rules;
}
