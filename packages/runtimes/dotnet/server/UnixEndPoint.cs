using System;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Treadle
{
    /// <summary>Address of a unix socket: .NET has one under another name than Mono, and Mono's is in a package of its own.</summary>
    internal sealed class UnixEndPoint : EndPoint
    {
        private readonly string path;

        internal UnixEndPoint(string path)
        {
            this.path = path;
        }

        public override AddressFamily AddressFamily
        {
            get { return AddressFamily.Unix; }
        }

        public override EndPoint Create(SocketAddress address)
        {
            // That of the caller, who has none.
            return new UnixEndPoint("");
        }

        public override SocketAddress Serialize()
        {
            byte[] bytes = Encoding.UTF8.GetBytes(path);
            var address = new SocketAddress(AddressFamily.Unix, 2 + bytes.Length + 1);
            for (int i = 0; i < bytes.Length; i++) address[2 + i] = bytes[i];
            address[2 + bytes.Length] = 0;
            return address;
        }
    }
}
