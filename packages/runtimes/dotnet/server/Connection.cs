using System;
using System.IO;
using System.Net.Sockets;
using System.Text;

namespace Treadle
{
    /// <summary>Bytes of one caller, in and out.</summary>
    internal sealed class Connection
    {
        private const int MostHeadBytes = 64 * 1024;
        private static readonly Encoding Latin = Encoding.GetEncoding(28591);
        private readonly Socket socket;
        private byte[] buffer = new byte[16 * 1024];
        private int from;
        private int to;
        private bool closed;

        internal Connection(Socket socket)
        {
            this.socket = socket;
        }

        /// <summary>The next request's head; null: the caller has closed.</summary>
        internal RequestHead ReadHead()
        {
            int scanned = from;
            while (true)
            {
                for (; scanned + 3 < to; scanned++)
                {
                    if (buffer[scanned] != '\r' || buffer[scanned + 1] != '\n' || buffer[scanned + 2] != '\r' || buffer[scanned + 3] != '\n') continue;
                    string text = Latin.GetString(buffer, from, scanned - from);
                    from = scanned + 4;
                    return new RequestHead(text.TrimStart('\r', '\n'));
                }
                if (to - from >= MostHeadBytes) throw new Malformed(431, "The request's headers are too large.");
                int before = from;
                if (!Fill()) return null;
                scanned -= before - from;
            }
        }

        /// <summary>A line of a chunked body, without its end.</summary>
        internal string ReadLine()
        {
            int scanned = from;
            while (true)
            {
                for (; scanned + 1 < to; scanned++)
                {
                    if (buffer[scanned] != '\r' || buffer[scanned + 1] != '\n') continue;
                    string text = Latin.GetString(buffer, from, scanned - from);
                    from = scanned + 2;
                    return text;
                }
                if (to - from > 1024) throw new Malformed(400, "Malformed chunk.");
                int before = from;
                if (!Fill()) throw new IOException("The request body ended early.");
                scanned -= before - from;
            }
        }

        internal int Read(byte[] into, int start, int count)
        {
            if (from == to && !Fill()) throw new IOException("The request body ended early.");
            int taken = Math.Min(count, to - from);
            Buffer.BlockCopy(buffer, from, into, start, taken);
            from += taken;
            return taken;
        }

        private bool Fill()
        {
            if (from > 0)
            {
                Buffer.BlockCopy(buffer, from, buffer, 0, to - from);
                to -= from;
                from = 0;
            }
            if (to == buffer.Length) Array.Resize(ref buffer, buffer.Length * 2);
            int count = socket.Receive(buffer, to, buffer.Length - to, SocketFlags.None);
            to += count;
            return count > 0;
        }

        internal void Write(byte[] bytes, int start, int count)
        {
            while (count > 0)
            {
                int sent = socket.Send(bytes, start, count, SocketFlags.None);
                start += sent;
                count -= sent;
            }
        }

        /// <summary>Text as it came where it can be, else UTF-8.</summary>
        internal static byte[] HeadBytes(string head)
        {
            foreach (char c in head) if (c > 255) return Encoding.UTF8.GetBytes(head);
            return Latin.GetBytes(head);
        }

        /// <summary>Whether the caller has hung up. Only while nothing else reads.</summary>
        internal bool IsGone()
        {
            try
            {
                return from == to && socket.Poll(0, SelectMode.SelectRead) && socket.Available == 0;
            }
            catch (SystemException)
            {
                return true;
            }
        }

        internal void Close()
        {
            lock (socket)
            {
                if (closed) return;
                closed = true;
            }
            try
            {
                // Whoever waits in a read or write of it comes back.
                socket.Shutdown(SocketShutdown.Both);
            }
            catch (SystemException)
            {
                // It is gone already.
            }
            socket.Close();
        }
    }
}
