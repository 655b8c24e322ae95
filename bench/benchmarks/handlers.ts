const JAVASCRIPT = `({ req, res, log }) => {
  const { name } = req.bodyJson.parameters;
  log("called by", name);
  return res.json({ result: "Hello " + name, logs: [], duration: 0 });
}`;

/** A handler of one file, that which the language takes when none is named. */
export interface HandlerFile {
  readonly path: string;
  readonly text: string;
}

/** The same handler in every language: it reads JSON, logs a line and answers JSON. */
export const HELLO_HANDLERS: Readonly<Record<string, HandlerFile>> = {
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
  go: {
    path: "main.go",
    text: `package handler

import "treadle.dev/treadle"

func Main(ctx treadle.Context) treadle.Response {
	var call struct {
		Parameters struct {
			Name string \`json:"name"\`
		} \`json:"parameters"\`
	}
	if err := ctx.Req.BodyJson(&call); err != nil {
		panic(err)
	}
	ctx.Log("called by", call.Parameters.Name)
	return ctx.Res.Json(map[string]any{"result": "Hello " + call.Parameters.Name, "logs": []string{}, "duration": 0})
}
`,
  },
  rust: {
    path: "src/lib.rs",
    text: `use treadle::{json, Context, Response, Value};

pub fn main(context: Context) -> Response {
    let call = context.req.body_json::<Value>().unwrap();
    let name = call["parameters"]["name"].as_str().unwrap();
    context.log(format!("called by {name}"));
    context.res.json(json!({ "result": format!("Hello {name}"), "logs": [], "duration": 0 }))
}
`,
  },
  cpp: {
    path: "main.cpp",
    text: `#include <treadle.hpp>

struct Handler {
  static RuntimeResponse main(RuntimeContext &context) {
    const std::string name = context.req.bodyJson()["parameters"]["name"];
    context.log("called by", name);
    return context.res.json({{"result", "Hello " + name}, {"logs", json::array()}, {"duration", 0}});
  }
};
`,
  },
  java: {
    path: "Main.java",
    text: `import io.openruntimes.java.RuntimeContext;
import io.openruntimes.java.RuntimeOutput;
import java.util.List;
import java.util.Map;

public class Main {
  public RuntimeOutput main(RuntimeContext context) throws Exception {
    Map<?, ?> call = (Map<?, ?>) context.getReq().getBodyJson();
    String name = (String) ((Map<?, ?>) call.get("parameters")).get("name");
    context.log("called by", name);
    return context.getRes().json(Map.of("result", "Hello " + name, "logs", List.of(), "duration", 0));
  }
}
`,
  },
  kotlin: {
    path: "Main.kt",
    text: `import io.openruntimes.kotlin.RuntimeContext
import io.openruntimes.kotlin.RuntimeOutput

class Main {
  fun main(context: RuntimeContext): RuntimeOutput {
    val call = context.req.bodyJson as Map<*, *>
    val name = (call["parameters"] as Map<*, *>)["name"]
    context.log("called by", name)
    return context.res.json(mapOf("result" to "Hello $name", "logs" to listOf<String>(), "duration" to 0))
  }
}
`,
  },
  dotnet: {
    path: "Handler.cs",
    text: `using System.Collections.Generic;
using System.Threading.Tasks;

namespace DotNetRuntime
{
    public class Handler
    {
        public Task<RuntimeOutput> Main(RuntimeContext Context)
        {
            var call = (Dictionary<string, object>)Context.Req.BodyJson;
            var name = (string)((Dictionary<string, object>)call["parameters"])["name"];
            Context.Log("called by", name);
            return Task.FromResult(Context.Res.Json(new Dictionary<string, object> { { "result", "Hello " + name }, { "logs", new List<object>() }, { "duration", 0 } }));
        }
    }
}
`,
  },
};

const PIECES = `(function* (left) {
  for (; left > 0; left -= 65536) yield new Uint8Array(Math.min(left, 65536)).fill(97);
})`;

/** Answers with as many bytes as the query's `bytes` says, 64 KiB at a time. */
export const STREAM_HANDLERS: Readonly<Record<string, HandlerFile>> = {
  node: { path: "index.js", text: `module.exports = ({ req, res }) => res.stream(${PIECES}(Number(req.query.bytes)));` },
  python: {
    path: "main.py",
    text: `def main(context):
    left = int(context.req.query["bytes"])
    return context.res.stream(b"a" * min(65536, left - at) for at in range(0, left, 65536))
`,
  },
  deno: {
    path: "main.ts",
    text: `export default ({ req, res }: any) => res.stream(${PIECES.replace("(left)", "(left: number)")}(Number(req.query.bytes)));`,
  },
  bun: {
    path: "index.ts",
    text: `export default ({ req, res }: any) => res.stream(${PIECES.replace("(left)", "(left: number)")}(Number(req.query.bytes)));`,
  },
  php: {
    path: "index.php",
    text: `<?php
return fn ($context) => $context->res->stream((function (int $left) {
    for (; $left > 0; $left -= 65536) yield str_repeat("a", min($left, 65536));
})((int) $context->req->query["bytes"]));
`,
  },
  ruby: {
    path: "main.rb",
    text: `def main(context)
  left = context.req.query["bytes"].to_i
  context.res.stream((0...left).step(65_536).lazy.map { |at| "a" * [65_536, left - at].min })
end
`,
  },
  go: {
    path: "main.go",
    text: `package handler

import (
	"io"
	"strconv"

	"treadle.dev/treadle"
)

func Main(ctx treadle.Context) treadle.Response {
	left, _ := strconv.Atoi(ctx.Req.Query["bytes"])
	piece := make([]byte, 65536)
	return ctx.Res.Stream(func(w io.Writer) error {
		for ; left > 0; left -= len(piece) {
			if _, err := w.Write(piece[:min(left, len(piece))]); err != nil {
				return err
			}
		}
		return nil
	})
}
`,
  },
};
