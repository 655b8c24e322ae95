export type * from "../../web/types.d.ts";
