using System.Collections.Generic;
using System.Threading.Tasks;

namespace DotNetRuntime
{
    public class Handler
    {
        public async Task<RuntimeOutput> Main(RuntimeContext Context)
        {
            string name;
            if (!Context.Req.Query.TryGetValue("name", out name)) name = "World";
            Context.Log("Greeting", name);
            await Task.Yield();
            return Context.Res.Json(new Dictionary<string, object> { { "language", "dotnet" }, { "message", "Hello, " + name + "!" } });
        }
    }
}
