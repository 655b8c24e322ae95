/** Answers with what it was asked, as JSON. */
export default async ({ req, res, log }) => {
  log(`${req.method} ${req.path}`);
  const { name = "world" } = req.query;
  return res.json({ message: `Hello ${name}`, language: "node" });
};
