using System;
using System.Collections;
using System.Collections.Generic;
using System.IO;
using System.Text;
using System.Threading.Tasks;

namespace DotNetRuntime
{
    /// <summary>A response, made by RuntimeResponse.</summary>
    public sealed class RuntimeOutput
    {
        /// <summary>Null for a stream.</summary>
        public byte[] Body { get; private set; }
        /// <summary>What a stream comes from: a Stream, a sequence of texts or byte arrays, or a Func&lt;Stream, Task&gt; that writes.</summary>
        public object Source { get; private set; }
        public int StatusCode { get; private set; }
        /// <summary>A value may be a sequence: one header for each element.</summary>
        public IDictionary Headers { get; private set; }

        internal RuntimeOutput(byte[] body, object source, int statusCode, IDictionary headers)
        {
            Body = body;
            Source = source;
            StatusCode = statusCode;
            Headers = headers;
        }
    }

    /// <summary>Makes responses. The one that the function returns is sent. Headers: any dictionary; a sequence as value gives one header for each element.</summary>
    public sealed class RuntimeResponse
    {
        /// <summary>What was made last: the response of functions of the older form (req, res).</summary>
        internal RuntimeOutput Last { get; private set; }

        /// <summary>Bytes; application/octet-stream unless the headers name a type.</summary>
        public RuntimeOutput Binary(byte[] bytes, int statusCode = 200, IDictionary headers = null)
        {
            return Made(bytes, null, statusCode, WithType(headers, "application/octet-stream"));
        }

        /// <summary>Text as UTF-8.</summary>
        public RuntimeOutput Text(string body, int statusCode = 200, IDictionary headers = null)
        {
            return Made(Encoding.UTF8.GetBytes(body), null, statusCode, WithType(headers, "text/plain"));
        }

        /// <summary>Deprecated name of Text.</summary>
        public RuntimeOutput Send(string body, int statusCode = 200, IDictionary headers = null)
        {
            return Text(body, statusCode, headers);
        }

        /// <summary>Compact JSON.</summary>
        public RuntimeOutput Json(object value, int statusCode = 200, IDictionary headers = null)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(Treadle.Json.Write(value));
            return Made(bytes, null, statusCode, WithType(headers, "application/json"));
        }

        public RuntimeOutput Redirect(string url, int statusCode = 301, IDictionary headers = null)
        {
            Dictionary<string, object> all = WithType(headers, "text/plain");
            all["location"] = url;
            return Made(new byte[0], null, statusCode, all);
        }

        /// <summary>204, nothing else.</summary>
        public RuntimeOutput Empty()
        {
            return Text("", 204);
        }

        /// <summary>A body that is sent as it is written. An error after the head breaks the connection.</summary>
        public RuntimeOutput Stream(Func<Stream, Task> writer, int statusCode = 200, IDictionary headers = null)
        {
            return Made(null, writer, statusCode, WithType(headers, "text/plain"));
        }

        /// <summary>A body that is sent as it can be read.</summary>
        public RuntimeOutput Stream(Stream source, int statusCode = 200, IDictionary headers = null)
        {
            return Made(null, source, statusCode, WithType(headers, "text/plain"));
        }

        /// <summary>A body that is sent piece by piece: texts or byte arrays.</summary>
        public RuntimeOutput Stream(IEnumerable pieces, int statusCode = 200, IDictionary headers = null)
        {
            return Made(null, pieces, statusCode, WithType(headers, "text/plain"));
        }

        private RuntimeOutput Made(byte[] body, object source, int statusCode, IDictionary headers)
        {
            Last = new RuntimeOutput(body, source, statusCode, headers);
            return Last;
        }

        private static Dictionary<string, object> WithType(IDictionary headers, string type)
        {
            var all = new Dictionary<string, object>();
            if (headers != null)
            {
                foreach (DictionaryEntry header in headers) all[header.Key.ToString().ToLowerInvariant()] = header.Value;
            }
            if (!all.ContainsKey("content-type")) all["content-type"] = type;
            return all;
        }
    }
}
