import { marked } from "marked";
import { wrap } from "./wrap.js";

export default async ({ req, res, log }) => {
  if (req.method !== "POST") return res.text("POST some Markdown.\n", 405, { allow: "POST" });
  const html = await marked.parse(req.bodyText);
  log(`${req.bodyText.length} characters in, ${html.length} out`);
  return res.text(wrap(req.query.title ?? "Untitled", html), 200, { "content-type": "text/html" });
};
