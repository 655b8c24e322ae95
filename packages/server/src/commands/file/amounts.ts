import { TreadleError } from "@treadle/errors";

const SIZE_UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** Bytes for people, three digits: `999 B`, `1.23 MB`, `123 GB`. */
export function sizeText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  for (; value >= 999.5 && unit < SIZE_UNITS.length - 1; unit++) value /= 1000;
  return `${unit === 0 ? value : value.toPrecision(3)} ${SIZE_UNITS[unit]}`;
}

/** Seconds for people: `42s`, `3m07s`, `2h05m`. */
export function spanText(seconds: number): string {
  const whole = Math.ceil(seconds);
  const two = (value: number) => String(Math.floor(value)).padStart(2, "0");
  if (whole < 60) return `${whole}s`;
  return whole < 3600
    ? `${Math.floor(whole / 60)}m${two(whole % 60)}s`
    : `${Math.floor(whole / 3600)}h${two((whole % 3600) / 60)}m`;
}

const SPAN_UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** The seconds of a span such as `90s`, `15m`, `2h`, `7d`. @throws BAD_REQUEST naming the option */
export function secondsOf(text: string, option: string): number {
  const [, amount, unit = ""] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  if (amount === undefined) throw new TreadleError("BAD_REQUEST", `${option} ${text}: give a span such as 90s, 15m, 2h or 7d.`);
  return Number(amount) * (SPAN_UNITS[unit] ?? 0);
}
