using System;
using System.Collections;
using System.IO;
using System.Text;

namespace Treadle
{
    /// <summary>Log lines on the real stdout, one write each, and the capture of what user code prints.</summary>
    internal static class Logs
    {
        private const int MostCharacters = 8000;
        private const int MostLineCharacters = 64 * 1024;
        private const string CutNote = "... Log truncated due to size limit (8000 characters)";
        private static readonly DateTime Epoch = new DateTime(1970, 1, 1, 0, 0, 0, DateTimeKind.Utc);
        private static readonly Stream Stdout = Console.OpenStandardOutput();
        private static readonly StringBuilder[] Untied = { new StringBuilder(), new StringBuilder() };
        private static string folder;

        internal static void Capture(string logFolder)
        {
            folder = logFolder;
            Console.SetOut(new Printer(0));
            Console.SetError(new Printer(1));
        }

        /// <summary>A line for whoever reads stdout, as it is.</summary>
        internal static void Announce(string line)
        {
            Write(line + "\n");
        }

        internal static void Entry(Execution execution, string level, string given, IDictionary fields)
        {
            if (execution != null && !execution.Logging) return;
            string text = given;
            if (text.Length > MostCharacters)
            {
                int end = char.IsHighSurrogate(text[MostCharacters - 1]) ? MostCharacters - 1 : MostCharacters;
                text = text.Substring(0, end) + CutNote;
            }
            string id = execution == null || execution.IsOver ? null : execution.Id;
            if (folder != null && id != null)
            {
                Append(id, level, text);
                return;
            }
            var line = new StringBuilder("{\"id\":");
            if (id == null) line.Append("null");
            else Json.Quote(line, id);
            line.Append(",\"level\":\"").Append(level).Append("\",\"text\":");
            Json.Quote(line, text);
            if (fields != null && fields.Count > 0) line.Append(",\"fields\":").Append(Json.Write(fields));
            line.Append(",\"time\":").Append((long)(DateTime.UtcNow - Epoch).TotalMilliseconds).Append("}\n");
            Write(line.ToString());
        }

        private static void Append(string id, string level, string text)
        {
            string file = Path.Combine(folder, id + (level == "error" ? "_errors.log" : "_logs.log"));
            try
            {
                lock (Stdout) File.AppendAllText(file, text + "\n");
            }
            catch (IOException e)
            {
                Announce("A log could not be written: " + e.Message);
            }
        }

        private static void Write(string line)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(line);
            lock (Stdout)
            {
                try
                {
                    Stdout.Write(bytes, 0, bytes.Length);
                    Stdout.Flush();
                }
                catch (IOException)
                {
                    // A closed stdout must not end the server.
                }
            }
        }

        /// <summary>What is left of lines when an execution ends.</summary>
        internal static void Flush(Execution execution)
        {
            for (int stream = 0; stream < 2; stream++)
            {
                lock (execution.Printed[stream])
                {
                    if (execution.Printed[stream].Length > 0) EndLine(execution, execution.Printed[stream], stream);
                }
            }
        }

        private static void EndLine(Execution execution, StringBuilder line, int stream)
        {
            string text = line.ToString();
            line.Length = 0;
            Entry(execution, stream == 0 ? "info" : "error", text.EndsWith("\r", StringComparison.Ordinal) ? text.Substring(0, text.Length - 1) : text, null);
        }

        private sealed class Printer : TextWriter
        {
            private readonly int stream;

            internal Printer(int stream)
            {
                this.stream = stream;
                CoreNewLine = new[] { '\n' };
            }

            public override Encoding Encoding
            {
                get { return Encoding.UTF8; }
            }

            public override void Write(char value)
            {
                Write(value.ToString());
            }

            public override void Write(char[] buffer, int index, int count)
            {
                Write(new string(buffer, index, count));
            }

            public override void Write(string value)
            {
                if (value == null) return;
                Execution execution = Execution.Current.Value;
                if (execution != null && execution.IsOver) execution = null;
                StringBuilder line = (execution == null ? Untied : execution.Printed)[stream];
                lock (line)
                {
                    int begin = 0;
                    for (int end = value.IndexOf('\n'); end >= 0; end = value.IndexOf('\n', begin))
                    {
                        line.Append(value, begin, end - begin);
                        EndLine(execution, line, stream);
                        begin = end + 1;
                    }
                    line.Append(value, begin, value.Length - begin);
                    if (line.Length > MostLineCharacters) EndLine(execution, line, stream);
                }
            }

            public override void WriteLine(string value)
            {
                Write(value + "\n");
            }
        }
    }
}
