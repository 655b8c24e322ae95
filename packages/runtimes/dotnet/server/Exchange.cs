using System;
using System.Collections.Generic;
using System.IO;
using System.Net.Sockets;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using DotNetRuntime;

namespace Treadle
{
    /// <summary>A request and its answer, which is given once, by whoever claims it: the connection's thread, the clock, or nobody when the caller has gone.</summary>
    internal sealed class Exchange
    {
        private const int MostTimeoutSeconds = 2147483;
        private static readonly Random Chance = new Random();

        private readonly Server server;
        private readonly Connection connection;
        private readonly RequestHead head;
        private readonly RequestBody body;
        private Execution execution;
        private long timeoutSeconds;
        private int claimed;
        private volatile bool streaming;
        private bool keepsAlive;
        private Timer clock;

        internal Exchange(Server server, Connection connection, RequestHead head)
        {
            this.server = server;
            this.connection = connection;
            this.head = head;
            keepsAlive = head.KeepsAlive;
            bool waits = head.Get("expect").ToLowerInvariant() == "100-continue";
            body = new RequestBody(connection, head, () =>
            {
                if (waits) connection.Write(Encoding.ASCII.GetBytes("HTTP/1.1 100 Continue\r\n\r\n"), 0, 25);
            });
        }

        /// <summary>Answers. False: the connection cannot be used again.</summary>
        internal bool Run()
        {
            string refusal;
            if (head.Target == "/__opr/health") Plain(200, "OK");
            else if (head.Target == "/__opr/timings") Plain(200, server.Timings());
            else if ((refusal = Control()) != null) Plain(500, refusal);
            else if (head.Length > RequestBody.MostBytes)
            {
                body.Discard();
                Plain(413, BodyTooLarge.Text);
            }
            else if (head.Target == "/__opr/load") TellLoad();
            else Work();
            if (!keepsAlive || Volatile.Read(ref claimed) > 1) return false;
            if (!body.IsComplete) body.Discard();
            return true;
        }

        /// <summary>Reads the runtime's own headers; what is wrong with them, or null.</summary>
        private string Control()
        {
            if (!server.Settings.IsSecret(head.Get("x-open-runtimes-secret"))) return "Unauthorized. Provide correct \"x-open-runtimes-secret\" header.";
            string timeout = head.Get("x-open-runtimes-timeout");
            if (timeout != "")
            {
                bool isNumber = long.TryParse(timeout, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out timeoutSeconds);
                if (!isNumber || timeoutSeconds < 1 || timeoutSeconds > MostTimeoutSeconds)
                    return "Header \"x-open-runtimes-timeout\" must be an integer greater than 0.";
            }
            string logging = head.Get("x-open-runtimes-logging");
            if (logging != "" && logging != "enabled" && logging != "disabled")
                return "Header \"x-open-runtimes-logging\" must be either \"enabled\" or \"disabled\".";
            execution = new Execution(LogId(), logging != "disabled");
            return null;
        }

        private string LogId()
        {
            string asked = head.Get("x-open-runtimes-log-id");
            bool isName = asked != "" && asked.Length <= 64;
            foreach (char c in asked) isName &= c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-';
            if (isName) return asked;
            if (server.Settings.Development) return "dev";
            var id = new StringBuilder();
            lock (Chance) while (id.Length < 20) id.Append("0123456789abcdefghijklmnopqrstuvwxyz"[Chance.Next(36)]);
            return id.ToString();
        }

        /// <summary>True once.</summary>
        private bool Claim(int by)
        {
            return Interlocked.CompareExchange(ref claimed, by, 0) == 0;
        }

        private void Plain(int status, string text, string moreHead = "")
        {
            if (!Claim(1)) return;
            StringBuilder top = ResponseHead.Begin(status).Append("content-type: text/plain; charset=utf-8\r\n").Append(moreHead);
            Send(top, Encoding.UTF8.GetBytes(text), status);
        }

        /// <summary>Tells what the last attempt to load came to, once it has ended.</summary>
        private void TellLoad()
        {
            string failure = server.LastLoad().Failure;
            if (failure == null) Plain(200, "OK");
            else Plain(503, failure, "x-open-runtimes-load: failed\r\n");
        }

        /// <summary>Sends head and body; a body that the request or the status rules out is left away.</summary>
        private void Send(StringBuilder top, byte[] bytes, int status)
        {
            bool bodiless = status < 200 || status == 204 || status == 304;
            if (!bodiless) top.Append("content-length: ").Append(bytes.Length).Append("\r\n");
            if (status < 200) keepsAlive = false;
            if (!keepsAlive) top.Append("connection: close\r\n");
            byte[] first = Connection.HeadBytes(top.Append("\r\n").ToString());
            int length = bodiless || head.Method == "HEAD" ? 0 : bytes.Length;
            Array.Resize(ref first, first.Length + length);
            Buffer.BlockCopy(bytes, 0, first, first.Length - length, length);
            connection.Write(first, 0, first.Length);
        }

        private void Work()
        {
            Execution.Current.Value = execution;
            server.Watch(this);
            if (timeoutSeconds > 0) clock = new Timer(_ => TimedOut(), null, timeoutSeconds * 1000, Timeout.Infinite);
            try
            {
                UserFunction function = server.Function();
                if (function.Failure != null)
                {
                    Fail(503, function.Failure);
                    return;
                }
                RuntimeOutput output = function.Call(Context()).GetAwaiter().GetResult();
                body.Settle();
                if (output == null) Fail(500, "Return statement missing. return context.res.empty() if no response is expected.");
                else Respond(output);
            }
            catch (BodyTooLarge)
            {
                execution.End(null);
                Plain(413, BodyTooLarge.Text);
            }
            catch (Malformed)
            {
                throw;
            }
            catch (Exception e)
            {
                if (streaming) StreamFailed(e.ToString());
                else Fail(500, e.ToString());
            }
            finally
            {
                if (clock != null) clock.Dispose();
                server.Unwatch(this);
                Execution.Current.Value = null;
            }
        }

        private RuntimeContext Context()
        {
            var headers = new Dictionary<string, string>();
            foreach (KeyValuePair<string, string> header in head.Headers)
            {
                if (!header.Key.StartsWith("x-open-runtimes-", StringComparison.Ordinal)) headers[header.Key] = header.Value;
            }
            foreach (KeyValuePair<string, string> header in server.Settings.EnforcedHeaders) headers[header.Key] = header.Value;
            return new RuntimeContext(new RuntimeRequest(head.Method, head.Target, headers, body), new RuntimeResponse(), execution, execution.Cancelling.Token);
        }

        private StringBuilder UserHead(int status)
        {
            return ResponseHead.Begin(status).Append("x-open-runtimes-log-id: ").Append(execution.Logging ? execution.Id : "").Append("\r\n");
        }

        private void Respond(RuntimeOutput output)
        {
            StringBuilder top = UserHead(output.StatusCode);
            ResponseHead.Add(top, output.Headers);
            if (!Claim(1)) return;
            if (output.Source == null)
            {
                execution.End(null);
                Send(top, output.Body, output.StatusCode);
                return;
            }
            streaming = true;
            bool silent = head.Method == "HEAD" || output.StatusCode < 200 || output.StatusCode == 204 || output.StatusCode == 304;
            bool chunked = head.IsVersion11;
            keepsAlive &= chunked;
            if (chunked && !silent) top.Append("transfer-encoding: chunked\r\n");
            if (!keepsAlive) top.Append("connection: close\r\n");
            byte[] first = Connection.HeadBytes(top.Append("\r\n").ToString());
            connection.Write(first, 0, first.Length);
            var answer = new StreamedAnswer(connection, chunked, silent);
            answer.Pump(output.Source);
            answer.End();
            execution.End(null);
        }

        /// <summary>Writes why to the error log, and an answer without a body.</summary>
        private void Fail(int status, string why)
        {
            if (!Claim(1)) return;
            execution.End(why);
            Send(UserHead(status), new byte[0], status);
        }

        private void StreamFailed(string why)
        {
            execution.End(why);
            keepsAlive = false;
            connection.Close();
        }

        /// <summary>Answers in place of code that may never return, and hangs up: the connection's thread may still be in that code.</summary>
        private void TimedOut()
        {
            const string why = "Execution timed out.";
            try
            {
                if (streaming) StreamFailed(why);
                else if (Claim(2))
                {
                    keepsAlive = false;
                    execution.End(why);
                    Send(UserHead(500), new byte[0], 500);
                    connection.Close();
                }
            }
            catch (SocketException)
            {
                connection.Close();
            }
            execution.Cancel();
        }

        /// <summary>Called now and then: looks whether anybody still waits.</summary>
        internal void LookForCaller()
        {
            if (streaming || !body.IsComplete || !connection.IsGone() || !Claim(2)) return;
            execution.End(null);
            execution.Cancel();
        }
    }
}
