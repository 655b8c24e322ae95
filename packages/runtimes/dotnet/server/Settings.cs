using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Text;

namespace Treadle
{
    /// <summary>The environment, read once and before user code.</summary>
    internal sealed class Settings
    {
        internal readonly string SocketPath = Given("TREADLE_SOCKET", "");
        internal readonly int Port = int.Parse(Given("PORT", "3000"), CultureInfo.InvariantCulture);
        internal readonly string Code = Given("TREADLE_CODE", "/usr/local/server/src/function");
        internal readonly string Entrypoint = Given("OPEN_RUNTIMES_ENTRYPOINT", "Handler.cs");
        internal readonly bool Development = Given("OPEN_RUNTIMES_ENV", "") == "development";
        /// <summary>Null: logs go to stdout.</summary>
        internal readonly string Logs;
        internal readonly Dictionary<string, string> EnforcedHeaders = new Dictionary<string, string>();
        private readonly byte[] secret = Encoding.UTF8.GetBytes(Given("OPEN_RUNTIMES_SECRET", ""));

        internal Settings()
        {
            string folder = Given("TREADLE_LOGS", "/mnt/logs");
            Logs = Directory.Exists(folder) ? folder : null;
            string enforced = Given("OPEN_RUNTIMES_HEADERS", "");
            if (enforced != "")
            {
                foreach (KeyValuePair<string, object> header in (Dictionary<string, object>)Json.Read(enforced))
                {
                    object value = header.Value;
                    EnforcedHeaders[header.Key.ToLowerInvariant()] = value as string ?? Json.Write(value);
                }
            }
            Environment.SetEnvironmentVariable("OPEN_RUNTIMES_SECRET", null);
        }

        private static string Given(string name, string otherwise)
        {
            string value = Environment.GetEnvironmentVariable(name);
            return string.IsNullOrEmpty(value) ? otherwise : value;
        }

        /// <summary>Compared in a time that does not tell where they differ.</summary>
        internal bool IsSecret(string given)
        {
            if (secret.Length == 0) return true;
            int difference = given.Length ^ secret.Length;
            for (int i = 0; i < given.Length; i++) difference |= given[i] ^ secret[i % secret.Length];
            return difference == 0;
        }
    }
}
