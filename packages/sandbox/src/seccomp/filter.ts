import { type Code, encode, ifAtLeast, ifEqual, load } from "./assembler.ts";
import { callRules, KILL, UNKNOWN } from "./policy.ts";
import type { SyscallTable } from "./syscall-table.ts";
import { ARM64_SYSCALLS } from "./syscalls-arm64.ts";
import { X86_64_SYSCALLS } from "./syscalls-x86-64.ts";

interface Architecture {
  /** AUDIT_ARCH_* of linux/audit.h. */
  readonly audit: number;
  readonly syscalls: SyscallTable;
}

/** Architectures by Node's name of them (`process.arch`). */
const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  x64: { audit: 0xc000003e, syscalls: X86_64_SYSCALLS },
  arm64: { audit: 0xc00000b7, syscalls: ARM64_SYSCALLS },
};

/** Offsets in `struct seccomp_data`. */
const CALL_NUMBER = 0;
const ARCHITECTURE = 4;

/** A stretch of call numbers, from `first` to the next stretch, with one rule. */
interface Stretch {
  readonly first: number;
  readonly code: Code;
}

function stretches(syscalls: SyscallTable): Stretch[] {
  const rules = callRules();
  const byNumber = [...syscalls].map(([name, number]) => ({ number, code: rules.get(name) ?? UNKNOWN }));
  byNumber.sort((a, b) => a.number - b.number);
  const list: Stretch[] = [{ first: 0, code: UNKNOWN }];
  let next = 0;
  const add = (first: number, code: Code) => {
    const last = list.at(-1) as Stretch;
    if (last.code === code) return;
    if (last.first === first) list.pop();
    list.push({ first, code });
  };
  for (const { number, code } of byNumber) {
    if (number > next) add(next, UNKNOWN);
    add(number, code);
    next = number + 1;
  }
  // Also refuses x32, whose numbers start at 2^30.
  add(next, UNKNOWN);
  return list;
}

/** A balanced tree of comparisons: about seven steps for a call instead of up to four hundred. */
function search(list: readonly Stretch[]): Code {
  if (list.length === 1) return (list[0] as Stretch).code;
  const middle = list.length >> 1;
  return ifAtLeast((list[middle] as Stretch).first, search(list.slice(middle)), search(list.slice(0, middle)));
}

/** The seccomp filter for an architecture by Node's name (`x64`, `arm64`) as the kernel takes it; null for others. */
export function seccompFilter(architecture: string): Buffer | null {
  const target = ARCHITECTURES[architecture];
  if (!target) return null;
  // A call in the convention of another architecture (32-bit on x86-64) has other numbers, and no honest use.
  return encode(load(ARCHITECTURE, ifEqual(target.audit, load(CALL_NUMBER, search(stretches(target.syscalls))), KILL)));
}
