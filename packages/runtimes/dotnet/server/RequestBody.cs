using System;
using System.Globalization;
using System.IO;

namespace Treadle
{
    /// <summary>The body is larger than whoever wants all of it may have.</summary>
    internal sealed class BodyTooLarge : IOException
    {
        internal const string Text = "The request body is larger than 20 MiB.";

        internal BodyTooLarge() : base(Text)
        {
        }
    }

    /// <summary>A request's body, read from the connection when it is asked for.</summary>
    internal sealed class RequestBody
    {
        internal const int MostBytes = 20 * 1024 * 1024;

        private readonly Connection connection;
        private readonly bool chunked;
        /// <summary>Of the body, or of the chunk under way.</summary>
        private long left;
        private bool complete;
        private bool streamed;
        private byte[] whole;
        private readonly Action expected;
        private bool asked;

        /// <param name="expected">called before the first byte is read: tells a caller that waits for it to send the body</param>
        internal RequestBody(Connection connection, RequestHead head, Action expected)
        {
            this.connection = connection;
            this.expected = expected;
            chunked = head.Length < 0;
            left = Math.Max(0, head.Length);
            complete = head.Length == 0;
        }

        internal bool IsComplete
        {
            get { return complete; }
        }

        private int Read(byte[] into, int start, int count)
        {
            if (complete || count == 0) return 0;
            if (!asked)
            {
                asked = true;
                expected();
            }
            if (chunked && left == 0 && !NextChunk()) return 0;
            int taken = connection.Read(into, start, (int)Math.Min(count, left));
            left -= taken;
            if (left == 0)
            {
                if (!chunked) complete = true;
                else if (connection.ReadLine() != "") throw new Malformed(400, "Malformed chunk.");
            }
            return taken;
        }

        private bool NextChunk()
        {
            string digits = connection.ReadLine().Split(';')[0].Trim(' ', '\t');
            bool isNumber = long.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out left);
            if (!isNumber || digits.Length > 12) throw new Malformed(400, "Malformed chunk.");
            if (left > 0) return true;
            while (connection.ReadLine() != "") continue;
            complete = true;
            return false;
        }

        /// <summary>All of it. @throws BodyTooLarge, after it was read to its end</summary>
        internal byte[] Whole()
        {
            if (streamed) throw new InvalidOperationException("The body was asked for as a stream.");
            if (whole != null) return whole;
            bool isKnown = !chunked && left <= MostBytes;
            var all = new MemoryStream(isKnown ? (int)left : 0);
            var piece = new byte[64 * 1024];
            long received = 0;
            for (int count = Read(piece, 0, piece.Length); count > 0; count = Read(piece, 0, piece.Length))
            {
                received += count;
                if (received <= MostBytes) all.Write(piece, 0, count);
                else all.SetLength(0);
            }
            if (received > MostBytes) throw new BodyTooLarge();
            whole = all.ToArray();
            return whole;
        }

        /// <summary>Waits until it is known whether the body was small enough; streamed bodies may have any size.</summary>
        internal void Settle()
        {
            if (!streamed) Whole();
        }

        /// <summary>Reads what nobody asked for.</summary>
        internal void Discard()
        {
            var piece = new byte[64 * 1024];
            while (Read(piece, 0, piece.Length) > 0) continue;
        }

        internal Stream AsStream()
        {
            streamed = true;
            return new Reader(this);
        }

        private sealed class Reader : Stream
        {
            private readonly RequestBody body;

            internal Reader(RequestBody body)
            {
                this.body = body;
            }

            public override bool CanRead { get { return true; } }
            public override bool CanSeek { get { return false; } }
            public override bool CanWrite { get { return false; } }
            public override long Length { get { throw new NotSupportedException(); } }

            public override long Position
            {
                get { throw new NotSupportedException(); }
                set { throw new NotSupportedException(); }
            }

            public override void Flush()
            {
            }

            public override int Read(byte[] into, int start, int count)
            {
                return body.Read(into, start, count);
            }

            public override long Seek(long offset, SeekOrigin origin)
            {
                throw new NotSupportedException();
            }

            public override void SetLength(long value)
            {
                throw new NotSupportedException();
            }

            public override void Write(byte[] bytes, int start, int count)
            {
                throw new NotSupportedException();
            }
        }
    }
}
