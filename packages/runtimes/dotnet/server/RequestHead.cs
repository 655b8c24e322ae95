using System;
using System.Collections.Generic;
using System.Globalization;

namespace Treadle
{
    /// <summary>A request that HTTP does not know: its connection ends with this answer.</summary>
    internal sealed class Malformed : Exception
    {
        internal readonly int Status;

        internal Malformed(int status, string message) : base(message)
        {
            Status = status;
        }
    }

    /// <summary>The head of an HTTP/1 request. Strict: what two readers could take for two things is refused.</summary>
    internal sealed class RequestHead
    {
        internal readonly string Method;
        internal readonly string Target;
        internal readonly bool IsVersion11;
        /// <summary>Lower-case names; several of one name joined with a comma.</summary>
        internal readonly Dictionary<string, string> Headers = new Dictionary<string, string>();
        /// <summary>-1: chunked.</summary>
        internal readonly long Length;

        internal RequestHead(string text)
        {
            string[] lines = text.Split(new[] { "\r\n" }, StringSplitOptions.None);
            string[] first = lines[0].Split(' ');
            if (first.Length != 3 || !IsToken(first[0]) || first[1] == "") throw new Malformed(400, "Malformed request line.");
            if (first[2] != "HTTP/1.1" && first[2] != "HTTP/1.0") throw new Malformed(505, "Only HTTP/1 is spoken here.");
            Method = first[0];
            Target = first[1];
            IsVersion11 = first[2] == "HTTP/1.1";
            for (int i = 1; i < lines.Length; i++)
            {
                int colon = lines[i].IndexOf(':');
                if (colon < 1 || !IsToken(lines[i].Substring(0, colon))) throw new Malformed(400, "Malformed header.");
                string name = lines[i].Substring(0, colon).ToLowerInvariant();
                string value = lines[i].Substring(colon + 1).Trim(' ', '\t');
                if (value.IndexOfAny(new[] { '\r', '\n', '\0' }) >= 0) throw new Malformed(400, "Malformed header.");
                Headers[name] = Headers.ContainsKey(name) ? Headers[name] + ", " + value : value;
            }
            Length = BodyLength();
        }

        private long BodyLength()
        {
            string coding = Get("transfer-encoding");
            string given = Get("content-length");
            if (Headers.ContainsKey("transfer-encoding"))
            {
                if (Headers.ContainsKey("content-length") || !IsVersion11) throw new Malformed(400, "Two lengths of one body.");
                if (coding.ToLowerInvariant() != "chunked") throw new Malformed(501, "Only the transfer encoding chunked is known.");
                return -1;
            }
            if (!Headers.ContainsKey("content-length")) return 0;
            long length;
            bool isNumber = long.TryParse(given, NumberStyles.None, CultureInfo.InvariantCulture, out length);
            if (!isNumber || given.Length > 15) throw new Malformed(400, "Malformed content-length.");
            return length;
        }

        /// <summary>Empty: there is none.</summary>
        internal string Get(string name)
        {
            string value;
            return Headers.TryGetValue(name, out value) ? value : "";
        }

        internal bool KeepsAlive
        {
            get { return IsVersion11 && Get("connection").ToLowerInvariant().IndexOf("close", StringComparison.Ordinal) < 0; }
        }

        /// <summary>A name of a header or method.</summary>
        internal static bool IsToken(string text)
        {
            foreach (char c in text)
            {
                bool isPlain = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9';
                if (!isPlain && "!#$%&'*+-.^_`|~".IndexOf(c) < 0) return false;
            }
            return text != "";
        }
    }
}
