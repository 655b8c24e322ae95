using System;
using System.Collections;
using System.Text;
using System.Threading;
using DotNetRuntime;

namespace Treadle
{
    /// <summary>One run of user code: its log, and whether it still matters.</summary>
    public sealed class Execution : RuntimeLogger
    {
        internal static readonly AsyncLocal<Execution> Current = new AsyncLocal<Execution>();

        internal readonly string Id;
        internal readonly bool Logging;
        internal readonly CancellationTokenSource Cancelling = new CancellationTokenSource();
        /// <summary>Lines printed so far without their end, of stdout and stderr.</summary>
        internal readonly StringBuilder[] Printed = { new StringBuilder(), new StringBuilder() };
        private int over;

        internal Execution(string id, bool logging)
        {
            Id = id;
            Logging = logging;
        }

        internal bool IsOver
        {
            get { return Volatile.Read(ref over) != 0; }
        }

        /// <summary>Later output is nobody's. why: its last entry, or null.</summary>
        internal void End(string why)
        {
            Logs.Flush(this);
            if (why != null) Logs.Entry(this, "error", why, null);
            Volatile.Write(ref over, 1);
        }

        /// <summary>Tells the code that nobody waits for it any more.</summary>
        internal void Cancel()
        {
            ThreadPool.QueueUserWorkItem(_ => Cancelling.Cancel());
        }

        protected override void Entry(string level, string text, IDictionary fields)
        {
            Logs.Entry(this, level, text ?? "null", fields);
        }

        internal static string TextOf(object message)
        {
            if (message == null) return "null";
            if (message is string || message is Exception || message is char) return message.ToString();
            if (message is bool) return (bool)message ? "true" : "false";
            return Json.Write(message);
        }
    }
}
