/** One classic BPF instruction, as in `struct sock_filter` (linux/filter.h). */
export interface Instruction {
  readonly code: number;
  readonly jumpTrue: number;
  readonly jumpFalse: number;
  readonly operand: number;
}

/** Position-independent code: every jump inside stays inside, every path ends in a return. */
export type Code = readonly Instruction[];

const LOAD_WORD_ABSOLUTE = 0x20;
const RETURN_CONSTANT = 0x06;
const JUMP_ALWAYS = 0x05;
const JUMP_IF_EQUAL = 0x15;
const JUMP_IF_GREATER_OR_EQUAL = 0x35;
const JUMP_IF_ANY_BIT = 0x45;

function instruction(code: number, operand: number, jumpTrue = 0, jumpFalse = 0): Instruction {
  return { code, jumpTrue, jumpFalse, operand: operand >>> 0 };
}

/** Ends the filter with a verdict (SECCOMP_RET_*). */
export function verdict(value: number): Code {
  return [instruction(RETURN_CONSTANT, value)];
}

/** Loads 32 bits of `struct seccomp_data` at a byte offset, then goes on. */
export function load(offset: number, next: Code): Code {
  return [instruction(LOAD_WORD_ABSOLUTE, offset), ...next];
}

/** Jumps reach 255 instructions ahead; over longer code they go by way of an unconditional one. */
function conditional(code: number, operand: number, whenTrue: Code, whenFalse: Code): Code {
  const far = whenFalse.length > 255;
  const head = far
    ? [instruction(code, operand, 0, 1), instruction(JUMP_ALWAYS, whenFalse.length)]
    : [instruction(code, operand, whenFalse.length, 0)];
  return [...head, ...whenFalse, ...whenTrue];
}

export function ifEqual(value: number, whenTrue: Code, whenFalse: Code): Code {
  return conditional(JUMP_IF_EQUAL, value, whenTrue, whenFalse);
}

export function ifAtLeast(value: number, whenTrue: Code, whenFalse: Code): Code {
  return conditional(JUMP_IF_GREATER_OR_EQUAL, value, whenTrue, whenFalse);
}

export function ifAnyBit(mask: number, whenTrue: Code, whenFalse: Code): Code {
  return conditional(JUMP_IF_ANY_BIT, mask, whenTrue, whenFalse);
}

/** `whenTrue` if the loaded value is one of `values`. */
export function ifOneOf(values: readonly number[], whenTrue: Code, whenFalse: Code): Code {
  return values.reduceRight<Code>((rest, value) => ifEqual(value, whenTrue, rest), whenFalse);
}

/** The bytes the kernel (and bubblewrap's --seccomp) takes: little-endian `struct sock_filter`s. */
export function encode(code: Code): Buffer {
  if (code.length > 4096) throw new RangeError(`The filter has ${code.length} instructions; the kernel takes 4096.`);
  const bytes = Buffer.alloc(code.length * 8);
  for (const [index, { code: operation, jumpTrue, jumpFalse, operand }] of code.entries()) {
    bytes.writeUInt16LE(operation, index * 8);
    bytes.writeUInt8(jumpTrue, index * 8 + 2);
    bytes.writeUInt8(jumpFalse, index * 8 + 3);
    bytes.writeUInt32LE(operand, index * 8 + 4);
  }
  return bytes;
}
