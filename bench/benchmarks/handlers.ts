const JAVASCRIPT = `({ req, res, log }) => {
  const { name } = req.bodyJson.parameters;
  log("called by", name);
  return res.json({ result: "Hello " + name, logs: [], duration: 0 });
}`;

/** The same handler in every language that needs no compiler: it reads JSON, logs a line and answers JSON. By language: entry file and text. */
export const HELLO_HANDLERS: Readonly<Record<string, { readonly path: string; readonly text: string }>> = {
  node: { path: "index.js", text: `module.exports = ${JAVASCRIPT};` },
  python: {
    path: "main.py",
    text: `def main(context):
    name = context.req.body_json["parameters"]["name"]
    context.log("called by", name)
    return context.res.json({"result": "Hello " + name, "logs": [], "duration": 0})
`,
  },
  deno: { path: "main.ts", text: `export default ${JAVASCRIPT.replace("({ req, res, log })", "({ req, res, log }: any)")};` },
  bun: { path: "index.ts", text: `export default ${JAVASCRIPT.replace("({ req, res, log })", "({ req, res, log }: any)")};` },
  php: {
    path: "index.php",
    text: `<?php
return function ($context) {
    $name = $context->req->bodyJson["parameters"]["name"];
    $context->log("called by", $name);
    return $context->res->json(["result" => "Hello " . $name, "logs" => [], "duration" => 0]);
};
`,
  },
  ruby: {
    path: "main.rb",
    text: `def main(context)
  name = context.req.body_json["parameters"]["name"]
  context.log("called by", name)
  context.res.json({ "result" => "Hello " + name, "logs" => [], "duration" => 0 })
end
`,
  },
};
