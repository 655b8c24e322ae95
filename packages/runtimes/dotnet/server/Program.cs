using System;
using System.Threading;

namespace Treadle
{
    /// <summary>Starts the server on what the environment says (HTTP.md).</summary>
    public static class Program
    {
        public static void Main()
        {
            var settings = new Settings();
            Logs.Capture(settings.Logs);
            // User code that blocks its threads does not make the others wait for new ones.
            ThreadPool.SetMinThreads(8, 2);
            AppDomain.CurrentDomain.UnhandledException += (_, problem) => Logs.Entry(null, "error", problem.ExceptionObject.ToString(), null);
            new Server(settings).Run();
        }
    }
}
