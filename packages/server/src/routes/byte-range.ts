import type { ByteRange } from "@treadle/files";

/**
 * What a `Range` header asks of a file: one part of it; `"whole"` where there is no such header, it is not in bytes, malformed, or asks for several parts (RFC 9110
 * lets a server ignore those); `"outside"` when there is nothing where it points.
 */
export function byteRange(header: string | undefined, size: number): ByteRange | "whole" | "outside" {
  const asked = /^bytes=[ \t]*(\d{0,20})-(\d{0,20})[ \t]*$/i.exec(header ?? "");
  if (asked === null) return "whole";
  const [, first = "", last = ""] = asked;
  if (first === "" && last === "") return "whole";
  if (first === "") {
    // The last so many bytes.
    const count = Math.min(Number(last), size);
    return count === 0 ? "outside" : { start: size - count, end: size - 1 };
  }
  const start = Number(first);
  const end = last === "" ? size - 1 : Math.min(Number(last), size - 1);
  if (last !== "" && Number(last) < start) return "whole";
  return start >= size ? "outside" : { start, end };
}
