/** Where the store's own messages go. `fields` is JSON for programs. */
export type Log = (level: "info" | "warn" | "error", message: string, fields?: object) => void;
