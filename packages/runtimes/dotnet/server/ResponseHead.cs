using System;
using System.Collections;
using System.Text;

namespace Treadle
{
    /// <summary>Writes heads of answers.</summary>
    internal static class ResponseHead
    {
        internal static StringBuilder Begin(int status)
        {
            if (status < 100 || status > 599) throw new ArgumentException("Impossible status code " + status + ".");
            return new StringBuilder("HTTP/1.1 ").Append(status).Append(status == 200 ? " OK\r\n" : " \r\n");
        }

        /// <summary>Adds user code's headers; those of the connection are the server's, and x-open-runtimes-* is nobody's.</summary>
        internal static void Add(StringBuilder head, IDictionary headers)
        {
            foreach (DictionaryEntry header in headers)
            {
                string name = header.Key.ToString().ToLowerInvariant();
                if (!RequestHead.IsToken(name)) throw new ArgumentException("Impossible header name.");
                bool isOwn = name == "content-length" || name == "transfer-encoding" || name == "connection" || name == "keep-alive";
                if (isOwn || name.StartsWith("x-open-runtimes-", StringComparison.Ordinal)) continue;
                var values = header.Value as IEnumerable;
                if (values == null || header.Value is string) Line(head, name, header.Value);
                else foreach (object value in values) Line(head, name, value);
            }
        }

        private static void Line(StringBuilder head, string name, object given)
        {
            string value = Convert.ToString(given, System.Globalization.CultureInfo.InvariantCulture);
            foreach (char c in value)
            {
                if (c < ' ' && c != '\t' || c == 127) throw new ArgumentException("Impossible value of the header " + name + ".");
            }
            if (name == "content-type")
            {
                value = value.ToLowerInvariant();
                bool isWhole = value.StartsWith("multipart/", StringComparison.Ordinal) || value.IndexOf("charset=", StringComparison.Ordinal) >= 0;
                if (!isWhole) value += "; charset=utf-8";
            }
            head.Append(name).Append(": ").Append(value).Append("\r\n");
        }
    }
}
