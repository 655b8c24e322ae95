/** What a runtime says in a FILE frame; see CHANNEL.md for the payloads. */
export const FileOperation = {
  save: 1,
  data: 2,
  end: 3,
  abort: 4,
  open: 5,
} as const;

/** What the host says in a FILE_ANSWER frame. */
export const FileAnswer = {
  credit: 1,
  done: 2,
  failed: 3,
} as const;

/** Most bytes in one DATA. */
export const MAX_FILE_CHUNK_BYTES = 256 * 1024;
/** Chunks of one transfer that may be on their way or wait in the host. */
export const FILE_WINDOW_CHUNKS = 4;
/** Longest JSON of SAVE and OPEN, bytes. */
const MAX_REQUEST_BYTES = 64 * 1024;

/** A FILE frame whose form is right; its JSON is not checked yet. `bytes` are part of the frame's. */
export type FileFrame =
  | { readonly operation: "save" | "open"; readonly transfer: number; readonly request: Readonly<Record<string, unknown>> }
  | { readonly operation: "data"; readonly transfer: number; readonly bytes: Buffer }
  | { readonly operation: "end" | "abort"; readonly transfer: number };

/** Reads the payload of a FILE frame; null: it breaks the rules of the channel. */
export function readFileFrame(bytes: Buffer, start: number, end: number): FileFrame | null {
  const payload = start + 5;
  if (end < payload) return null;
  const transfer = bytes.readUInt32LE(start);
  const length = end - payload;
  switch (bytes[start + 4]) {
    case FileOperation.data:
      if (length === 0 || length > MAX_FILE_CHUNK_BYTES) return null;
      return { operation: "data", transfer, bytes: bytes.subarray(payload, end) };
    case FileOperation.end:
      return length === 0 ? { operation: "end", transfer } : null;
    case FileOperation.abort:
      return length === 0 ? { operation: "abort", transfer } : null;
    case FileOperation.save:
    case FileOperation.open: {
      if (length > MAX_REQUEST_BYTES) return null;
      const request = objectOf(bytes.toString("utf8", payload, end));
      const operation = bytes[start + 4] === FileOperation.save ? "save" : "open";
      return request === null ? null : { operation, transfer, request };
    }
    default:
      return null;
  }
}

function objectOf(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
