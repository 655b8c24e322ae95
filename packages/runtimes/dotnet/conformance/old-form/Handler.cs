using System.Collections.Generic;

namespace DotNetRuntime
{
    public class Handler
    {
        public void Main(RuntimeRequest req, RuntimeResponse res)
        {
            if (req.Payload == "text")
            {
                res.Send("text", 202);
                return;
            }
            string header, variable;
            req.Headers.TryGetValue("x-test", out header);
            req.Env.TryGetValue("CUSTOM_ENV_VAR", out variable);
            res.Json(new Dictionary<string, object> { { "payload", req.Payload }, { "header", header }, { "env", variable } }, 201);
        }
    }
}
