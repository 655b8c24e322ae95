using System;
using System.Collections;
using System.Collections.Generic;
using System.IO;
using System.Text;

namespace DotNetRuntime
{
    /// <summary>A request. The body is read when it is first asked for.</summary>
    public sealed class RuntimeRequest
    {
        private readonly Treadle.RequestBody body;
        private byte[] bytes;
        private Dictionary<string, string> query;

        public string Method { get; private set; }
        public string Url { get; private set; }
        public string Scheme { get; private set; }
        public string Host { get; private set; }
        public int Port { get; private set; }
        public string Path { get; private set; }
        public string QueryString { get; private set; }

        /// <summary>Names in lower case.</summary>
        public Dictionary<string, string> Headers { get; private set; }

        internal RuntimeRequest(string method, string target, Dictionary<string, string> headers, Treadle.RequestBody body)
        {
            this.body = body;
            Method = method;
            Headers = headers;
            Scheme = headers.ContainsKey("x-forwarded-proto") ? headers["x-forwarded-proto"] : "http";
            string authority = headers.ContainsKey("host") ? headers["host"] : "localhost";
            string rest = target;
            int mark = target.IndexOf("://", StringComparison.Ordinal);
            if (mark > 0 && target.IndexOf('/') == mark + 1)
            {
                Scheme = target.Substring(0, mark).ToLowerInvariant();
                int end = target.IndexOfAny(new[] { '/', '?', '#' }, mark + 3);
                authority = end < 0 ? target.Substring(mark + 3) : target.Substring(mark + 3, end - mark - 3);
                rest = end < 0 ? "" : target.Substring(end);
            }
            int fragment = rest.IndexOf('#');
            if (fragment >= 0) rest = rest.Substring(0, fragment);
            int question = rest.IndexOf('?');
            string path = question < 0 ? rest : rest.Substring(0, question);
            Path = path == "" ? "/" : path;
            QueryString = question < 0 ? "" : rest.Substring(question + 1);
            int colon = authority.LastIndexOf(':');
            bool hasPort = colon > authority.LastIndexOf(']');
            Host = hasPort ? authority.Substring(0, colon) : authority;
            int usual = Scheme == "https" ? 443 : 80;
            ushort given = 0;
            if (hasPort) ushort.TryParse(authority.Substring(colon + 1), out given);
            Port = given == 0 ? usual : given;
            Url = Scheme + "://" + Host + (Port == usual ? "" : ":" + Port) + Path + (QueryString == "" ? "" : "?" + QueryString);
        }

        /// <summary>Undecoded: a=b&amp;c==d&amp;k is {a: "b", c: "=d", k: ""}.</summary>
        public Dictionary<string, string> Query
        {
            get
            {
                if (query != null) return query;
                query = new Dictionary<string, string>();
                foreach (string part in QueryString.Split('&'))
                {
                    int equals = part.IndexOf('=');
                    string key = equals < 0 ? part : part.Substring(0, equals);
                    if (key != "") query[key] = equals < 0 ? "" : part.Substring(equals + 1);
                }
                return query;
            }
        }

        public byte[] BodyBinary
        {
            get { return bytes ?? (bytes = body.Whole()); }
        }

        public string BodyText
        {
            get { return Encoding.UTF8.GetString(BodyBinary); }
        }

        /// <summary>Dictionaries, lists, texts, long or double, bool, null.</summary>
        /// <exception cref="FormatException">the body is no JSON</exception>
        public object BodyJson
        {
            get
            {
                try
                {
                    return Treadle.Json.Read(BodyText);
                }
                catch (FormatException e)
                {
                    throw new FormatException("The request body is not valid JSON: " + e.Message);
                }
            }
        }

        /// <summary>As JSON when the content type says so, {} when that is empty; else as text.</summary>
        public object Body
        {
            get
            {
                string type;
                bool isJson = Headers.TryGetValue("content-type", out type) && type.ToLowerInvariant().StartsWith("application/json", StringComparison.Ordinal);
                if (!isJson) return BodyText;
                return BodyBinary.Length == 0 ? new Dictionary<string, object>() : BodyJson;
            }
        }

        /// <summary>The body as it comes, for functions that ask for it before they ask for anything else of the body.</summary>
        public Stream BodyStream
        {
            get
            {
                if (bytes != null) throw new InvalidOperationException("The body was read already.");
                return body.AsStream();
            }
        }

        /// <summary>The body's text, in the older form (req, res).</summary>
        public string Payload
        {
            get { return BodyText; }
        }

        /// <summary>The environment, in the older form.</summary>
        public Dictionary<string, string> Env
        {
            get
            {
                var variables = new Dictionary<string, string>();
                foreach (DictionaryEntry variable in Environment.GetEnvironmentVariables()) variables[(string)variable.Key] = (string)variable.Value;
                return variables;
            }
        }
    }
}
