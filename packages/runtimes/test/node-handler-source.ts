/** A handler function that does what the request header `x-action` says. */
export const HANDLER = `
module.exports = async (context) => {
  const { req, res, log, error } = context;
  const actions = {
    plain: () => res.text("Hello World 👋"),
    json: () => res.json({ json: true, nested: [{ a: 1 }] }),
    charset: () => res.text("é", 200, { "content-type": "text/plain; charset=iso-8859-1" }),
    upper: () => res.text("x", 200, { "Content-Type": "TEXT/HTML" }),
    multipart: () => res.text("x", 200, { "content-type": "multipart/form-data; boundary=AbC" }),
    redirect: () => res.redirect("https://example.org/"),
    empty: () => res.empty(),
    nothing: () => { res.text("not returned"); },
    twice: () => { res.text("first"); return res.text("second"); },
    number: () => 42,
    status: () => res.text("FAIL", 404),
    badStatus: () => res.text("x", 42),
    badHeader: () => res.text("x", 200, { "x-evil": "a\\r\\nset-cookie: b" }),
    cookies: () => res.text("x", 200, { "set-cookie": ["a=1", "b=2"], "X-Open-Runtimes-Out": "hidden", "content-length": "999" }),
    binary: () => res.binary(Uint8Array.from([0, 10, 255]), 200, { "content-type": "image/png" }),
    request: () => res.json({ ...req, body: undefined, bodyBinary: undefined, query: req.query }),
    body: () => res.json({ body: req.body, text: req.bodyText, length: req.bodyBinary.length }),
    bodyJson: () => res.json(req.bodyJson),
    echo: () => res.binary(req.bodyBinary),
    throws: () => { log("before"); throw new Error("Error!"); },
    logs: async () => { log("a", 1, { k: ["v"] }, true); error("bad"); await null; console.log("native"); process.stdout.write("written\\n"); return res.text(""); },
    long: () => { log("x".repeat(9000)); return res.empty(); },
    slow: async () => { log("start"); await new Promise((r) => setTimeout(r, 1500)); log("end"); return res.text("done"); },
    block: () => { const end = Date.now() + 1300; while (Date.now() < end); return res.text("late"); },
    late: () => { setTimeout(() => { throw new Error("too late"); }, 20); return res.text("ok"); },
    inTimer: () => new Promise(() => setTimeout(() => { throw new Error("in timer"); }, 5)),
    secret: () => res.text(String(process.env.OPEN_RUNTIMES_SECRET)),
  };
  return await actions[req.headers["x-action"]]();
};
`;
