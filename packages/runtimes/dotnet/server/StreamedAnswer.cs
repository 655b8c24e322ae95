using System;
using System.Collections;
using System.IO;
using System.Text;
using System.Threading.Tasks;

namespace Treadle
{
    /// <summary>Sends a body piece by piece. Each write goes out at once, and waits while the caller does not take it.</summary>
    internal sealed class StreamedAnswer : Stream
    {
        private readonly Connection connection;
        private readonly bool chunked;
        private readonly bool silent;

        internal StreamedAnswer(Connection connection, bool chunked, bool silent)
        {
            this.connection = connection;
            this.chunked = chunked;
            this.silent = silent;
        }

        internal void Pump(object source)
        {
            var writer = source as Func<Stream, Task>;
            var stream = source as Stream;
            if (writer != null) writer(this).GetAwaiter().GetResult();
            else if (stream != null)
            {
                using (stream)
                {
                    var piece = new byte[64 * 1024];
                    for (int count = stream.Read(piece, 0, piece.Length); count > 0; count = stream.Read(piece, 0, piece.Length)) Write(piece, 0, count);
                }
            }
            else
            {
                foreach (object piece in (IEnumerable)source)
                {
                    byte[] bytes = piece as byte[] ?? Encoding.UTF8.GetBytes(Convert.ToString(piece, System.Globalization.CultureInfo.InvariantCulture));
                    Write(bytes, 0, bytes.Length);
                }
            }
        }

        internal void End()
        {
            if (chunked && !silent) connection.Write(Encoding.ASCII.GetBytes("0\r\n\r\n"), 0, 5);
        }

        public override void Write(byte[] bytes, int start, int count)
        {
            if (count == 0 || silent) return;
            if (!chunked)
            {
                connection.Write(bytes, start, count);
                return;
            }
            byte[] size = Encoding.ASCII.GetBytes(count.ToString("x") + "\r\n");
            var chunk = new byte[size.Length + count + 2];
            Buffer.BlockCopy(size, 0, chunk, 0, size.Length);
            Buffer.BlockCopy(bytes, start, chunk, size.Length, count);
            chunk[chunk.Length - 2] = (byte)'\r';
            chunk[chunk.Length - 1] = (byte)'\n';
            connection.Write(chunk, 0, chunk.Length);
        }

        public override bool CanRead { get { return false; } }
        public override bool CanSeek { get { return false; } }
        public override bool CanWrite { get { return true; } }
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
            throw new NotSupportedException();
        }

        public override long Seek(long offset, SeekOrigin origin)
        {
            throw new NotSupportedException();
        }

        public override void SetLength(long value)
        {
            throw new NotSupportedException();
        }
    }
}
