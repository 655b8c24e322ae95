using System.Collections.Generic;
using System.Threading;

namespace DotNetRuntime
{
    /// <summary>What a function is called with.</summary>
    public sealed class RuntimeContext
    {
        public RuntimeRequest Req { get; private set; }
        public RuntimeResponse Res { get; private set; }
        public RuntimeLogger Logger { get; private set; }

        /// <summary>Cancelled when the caller has given up, or the time is over.</summary>
        public CancellationToken Cancellation { get; private set; }

        public RuntimeContext(RuntimeRequest req, RuntimeResponse res, RuntimeLogger logger, CancellationToken cancellation)
        {
            Req = req;
            Res = res;
            Logger = logger;
            Cancellation = cancellation;
        }

        /// <summary>Logs its arguments, joined by a space; objects as JSON.</summary>
        public void Log(params object[] messages)
        {
            Logger.Write("info", messages);
        }

        /// <summary>Like Log, to the error log.</summary>
        public void Error(params object[] messages)
        {
            Logger.Write("error", messages);
        }
    }

    /// <summary>Log entries with a level and, if wanted, fields.</summary>
    public abstract class RuntimeLogger
    {
        /// <summary>One entry. fields may be null.</summary>
        protected abstract void Entry(string level, string text, System.Collections.IDictionary fields);

        internal void Write(string level, object[] messages)
        {
            var parts = new List<string>();
            foreach (object message in messages ?? new object[] { null }) parts.Add(Treadle.Execution.TextOf(message));
            Entry(level, string.Join(" ", parts), null);
        }

        public void Debug(string message, System.Collections.IDictionary fields = null)
        {
            Entry("debug", message, fields);
        }

        public void Info(string message, System.Collections.IDictionary fields = null)
        {
            Entry("info", message, fields);
        }

        public void Warn(string message, System.Collections.IDictionary fields = null)
        {
            Entry("warn", message, fields);
        }

        public void Error(string message, System.Collections.IDictionary fields = null)
        {
            Entry("error", message, fields);
        }
    }
}
