using System;
using System.Collections.Generic;
using System.IO;
using System.Text;
using System.Threading.Tasks;

namespace DotNetRuntime
{
    public class Handler
    {
        public async Task<RuntimeOutput> Main(RuntimeContext Context)
        {
            RuntimeRequest req = Context.Req;
            RuntimeResponse res = Context.Res;
            switch (Header(req, "x-action"))
            {
                case "plainText":
                    return res.Text("Hello World 👋");
                case "json":
                    return res.Json(new Dictionary<string, object> { { "json", true }, { "message", "Developers are awesome." } });
                case "charset":
                    return res.Text("ok", 200, new Dictionary<string, string> { { "content-type", "text/plain; charset=iso-8859-1" } });
                case "upperCaseType":
                    return res.Text("ok", 200, new Dictionary<string, string> { { "content-type", "TEXT/HTML" } });
                case "multipart":
                    return res.Text("--x--", 200, new Dictionary<string, string> { { "content-type", "multipart/form-data; boundary=12345" } });
                case "redirect":
                    return res.Redirect("https://example.com/there");
                case "empty":
                    return res.Empty();
                case "binary":
                    return res.Binary(new byte[] { 0, 10, 255 });
                case "noResponse":
                    return null;
                case "double":
                    res.Text("This should be ignored.");
                    return res.Text("This should be returned.");
                case "headers":
                    return res.Text("OK", 200, new Dictionary<string, string>
                    {
                        { "first-header", "first-value" },
                        { "second-header", Header(req, "x-open-runtimes-custom-in-header") ?? "missing" },
                        { "third-header", Header(req, "cookie") ?? "missing" },
                        { "x-open-runtimes-custom-out-header", "third-value" },
                    });
                case "setCookie":
                    return res.Text("OK", 200, new Dictionary<string, object> { { "set-cookie", new[] { "a=1; Path=/", "b=2; HttpOnly" } } });
                case "status":
                    return res.Text("status", int.Parse(Header(req, "x-status")));
                case "method":
                    return res.Text(req.Method);
                case "url":
                    return res.Json(new Dictionary<string, object>
                    {
                        { "url", req.Url }, { "port", req.Port }, { "path", req.Path }, { "query", req.Query },
                        { "queryString", req.QueryString }, { "scheme", req.Scheme }, { "host", req.Host },
                    });
                case "requestHeaders":
                    return res.Json(req.Headers);
                case "bodyText":
                    return res.Text(req.BodyText);
                case "bodyJson":
                    return res.Json(req.BodyJson);
                case "body":
                    return res.Json(new { kind = req.Body is string ? "text" : "object", body = req.Body });
                case "bodyBinary":
                    return res.Binary(req.BodyBinary);
                case "environment":
                    return res.Json(new
                    {
                        given = Environment.GetEnvironmentVariable("CUSTOM_ENV_VAR"),
                        missing = Environment.GetEnvironmentVariable("NOT_DEFINED_VAR"),
                        secret = Environment.GetEnvironmentVariable("OPEN_RUNTIMES_SECRET"),
                    });
                case "log":
                    Context.Log("Debug Log");
                    Context.Error("Error Log");
                    Context.Log("A", 42, true);
                    Context.Log(new Dictionary<string, object> { { "object", true } });
                    Console.WriteLine("Native Log");
                    return res.Text("");
                case "longLog":
                    Context.Log(new string('a', 9000));
                    return res.Text("");
                case "structuredLog":
                    Context.Logger.Warn("structured", new Dictionary<string, object> { { "key", "value" } });
                    return res.Text("");
                case "exception":
                    Context.Log("before");
                    throw new InvalidOperationException("Custom error message");
                case "sleep":
                    await Task.Delay(int.Parse(Header(req, "x-ms")));
                    return res.Text("slept");
                case "concurrentLog":
                    string id = Header(req, "x-id");
                    for (int i = 0; i < 3; i++)
                    {
                        Context.Log(id);
                        await Task.Delay(10);
                        Console.WriteLine("native " + id);
                        await Task.Delay(10);
                    }
                    return res.Text(id);
                case "stream":
                    return res.Stream(WriteSlowly, 201, new Dictionary<string, string> { { "x-streamed", "yes" } });
                case "streamLarge":
                    return res.Stream(Large(long.Parse(Header(req, "x-size"))));
                case "streamError":
                    return res.Stream(Failing());
                case "echoStream":
                    return res.Stream(req.BodyStream);
                case "large":
                    return res.Binary(Encoding.ASCII.GetBytes(new string('a', int.Parse(Header(req, "x-size")))));
                case "file":
                    return res.Text(File.ReadAllText(Path.Combine(Environment.GetEnvironmentVariable("TREADLE_CODE"), "data.txt")));
                default:
                    return res.Text("Unknown action", 404);
            }
        }

        private static string Header(RuntimeRequest req, string name)
        {
            string value;
            return req.Headers.TryGetValue(name, out value) ? value : null;
        }

        private static async Task WriteSlowly(Stream output)
        {
            foreach (string piece in new[] { "one\n", "two\n", "three\n" })
            {
                byte[] bytes = Encoding.UTF8.GetBytes(piece);
                await output.WriteAsync(bytes, 0, bytes.Length);
                await Task.Delay(200);
            }
        }

        private static IEnumerable<byte[]> Large(long size)
        {
            byte[] piece = Encoding.ASCII.GetBytes(new string('a', 64 * 1024));
            for (; size >= piece.Length; size -= piece.Length) yield return piece;
            Array.Resize(ref piece, (int)size);
            yield return piece;
        }

        private static IEnumerable<string> Failing()
        {
            yield return "one\n";
            throw new InvalidOperationException("The source failed.");
        }
    }
}
