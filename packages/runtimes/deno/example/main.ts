import type { Context } from "../types/treadle.d.ts";

/** Answers with what it was asked, as JSON. */
export default ({ req, res, log }: Context) => {
  log(`${req.method} ${req.path}`);
  const { name = "world" } = req.query;
  return res.json({ message: `Hello ${name}`, language: "deno" });
};
