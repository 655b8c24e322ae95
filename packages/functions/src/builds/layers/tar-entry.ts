import type { Extract } from "tar-stream";

/** An entry as tar-stream gives it; it has the type, but no name for it. */
export type TarEntry = Extract extends AsyncIterable<infer Entry> ? Entry : never;
