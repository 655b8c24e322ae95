using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Threading;

namespace Treadle
{
    /// <summary>
    /// An HTTP/1.1 server: a thread for each connection. Our own, since HttpListener has no unix sockets and Kestrel is not in Mono.
    /// </summary>
    internal sealed class Server
    {
        /// <summary>Below the threads that a sandbox may have (128), with room for those of the runtime and of user code.</summary>
        private const int MostConnections = 80;
        private const int StackBytes = 512 * 1024;
        private const int LookMilliseconds = 100;

        internal readonly Settings Settings;
        private readonly SemaphoreSlim room = new SemaphoreSlim(MostConnections);
        private readonly HashSet<Exchange> watched = new HashSet<Exchange>();
        private readonly object loading = new object();
        private Timer watcher;
        private UserFunction function;
        private UserFunction lastLoad;
        private double loadSeconds;

        internal Server(Settings settings)
        {
            Settings = settings;
        }

        internal void Run()
        {
            Socket listener = Listen();
            Logs.Announce("HTTP server successfully started!");
            ThreadPool.UnsafeQueueUserWorkItem(_ => Function(), null);
            while (true)
            {
                room.Wait();
                Socket socket = listener.Accept();
                var thread = new Thread(() => Serve(socket), StackBytes);
                thread.IsBackground = true;
                thread.Start();
            }
        }

        private Socket Listen()
        {
            Socket listener;
            if (Settings.SocketPath == "")
            {
                listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
                listener.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
                listener.Bind(new IPEndPoint(IPAddress.Any, Settings.Port));
            }
            else
            {
                File.Delete(Settings.SocketPath);
                listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                listener.Bind(new UnixEndPoint(Settings.SocketPath));
            }
            listener.Listen(1024);
            return listener;
        }

        private void Serve(Socket socket)
        {
            var connection = new Connection(socket);
            try
            {
                if (Settings.SocketPath == "") socket.NoDelay = true;
                for (RequestHead head = connection.ReadHead(); head != null; head = connection.ReadHead())
                {
                    if (!new Exchange(this, connection, head).Run()) break;
                }
            }
            catch (Malformed e)
            {
                Refuse(connection, e);
            }
            catch (SystemException)
            {
                // The caller has gone.
            }
            finally
            {
                connection.Close();
                room.Release();
            }
        }

        private static void Refuse(Connection connection, Malformed problem)
        {
            string text = "HTTP/1.1 " + problem.Status + " \r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: " + problem.Message.Length + "\r\n\r\n" + problem.Message;
            byte[] bytes = Encoding.ASCII.GetBytes(text);
            try
            {
                connection.Write(bytes, 0, bytes.Length);
            }
            catch (SystemException)
            {
                // The caller has gone.
            }
        }

        /// <summary>The user's function, loaded; a failure is tried again by the next request.</summary>
        internal UserFunction Function()
        {
            lock (loading)
            {
                if (function != null) return function;
                Stopwatch watch = Stopwatch.StartNew();
                UserFunction loaded = UserFunction.Load(Settings.Code, Settings.Entrypoint);
                loadSeconds = watch.Elapsed.TotalSeconds;
                if (loaded.Failure == null) function = loaded;
                lastLoad = loaded;
                return loaded;
            }
        }

        /// <summary>What the last attempt to load came to; the first, if there was none.</summary>
        internal UserFunction LastLoad()
        {
            lock (loading) return lastLoad ?? Function();
        }

        /// <summary>Looks now and then whether the exchange's caller is still there.</summary>
        internal void Watch(Exchange exchange)
        {
            lock (watched)
            {
                watched.Add(exchange);
                if (watcher == null) watcher = new Timer(_ => Look(), null, LookMilliseconds, LookMilliseconds);
            }
        }

        internal void Unwatch(Exchange exchange)
        {
            lock (watched) watched.Remove(exchange);
        }

        private void Look()
        {
            Exchange[] all;
            lock (watched)
            {
                if (watched.Count == 0) return;
                all = new Exchange[watched.Count];
                watched.CopyTo(all);
            }
            foreach (Exchange exchange in all) exchange.LookForCaller();
        }

        internal string Timings()
        {
            const string file = "/mnt/telemetry/timings.txt";
            string before = File.Exists(file) ? File.ReadAllText(file).TrimEnd() + "\n" : "";
            return before + "load=" + loadSeconds.ToString("0.000", CultureInfo.InvariantCulture) + "\n";
        }
    }
}
