package treadle;

import io.openruntimes.java.RuntimeOutput;
import io.openruntimes.java.StreamWriter;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Iterator;
import java.util.stream.BaseStream;

/** Sends a body piece by piece, as its source has them. */
final class StreamedAnswer extends OutputStream {
  private static final int PIECE_BYTES = 64 * 1024;

  private final Connection connection;
  private final boolean chunked;
  private final boolean silent;

  private StreamedAnswer(Connection connection, RequestHead head, int status) {
    this.connection = connection;
    chunked = head.isVersion11;
    silent = head.method.equals("HEAD") || status < 200 || status == 204 || status == 304;
  }

  static void send(Connection connection, RequestHead head, StringBuilder top, RuntimeOutput output) throws Exception {
    StreamedAnswer out = new StreamedAnswer(connection, head, output.getStatusCode());
    if (out.chunked && !out.silent) top.append("transfer-encoding: chunked\r\n");
    if (!connection.keepsAlive()) top.append("connection: close\r\n");
    connection.write(ByteBuffer.wrap(ResponseHead.bytes(top.append("\r\n"))));
    out.pump(output.getSource());
    if (out.chunked && !out.silent) connection.write(ByteBuffer.wrap("0\r\n\r\n".getBytes(StandardCharsets.ISO_8859_1)));
  }

  private void pump(Object source) throws Exception {
    if (source instanceof StreamWriter) ((StreamWriter) source).write(this);
    else if (source instanceof InputStream) {
      try (InputStream stream = (InputStream) source) {
        byte[] buffer = new byte[PIECE_BYTES];
        for (int count = stream.read(buffer); count >= 0; count = stream.read(buffer)) write(buffer, 0, count);
      }
    } else if (source instanceof Iterable) each(((Iterable<?>) source).iterator());
    else if (source instanceof Iterator) each((Iterator<?>) source);
    else if (source instanceof BaseStream) {
      try (BaseStream<?, ?> stream = (BaseStream<?, ?>) source) {
        each(stream.iterator());
      }
    } else throw new IllegalArgumentException("Not a source of a stream: " + source.getClass().getName());
  }

  private void each(Iterator<?> pieces) throws IOException {
    while (pieces.hasNext()) {
      Object piece = pieces.next();
      write(piece instanceof byte[] ? (byte[]) piece : String.valueOf(piece).getBytes(StandardCharsets.UTF_8));
    }
  }

  @Override
  public void write(int b) throws IOException {
    write(new byte[] {(byte) b}, 0, 1);
  }

  @Override
  public void write(byte[] bytes, int start, int length) throws IOException {
    if (length == 0 || silent) return;
    if (!chunked) {
      connection.write(ByteBuffer.wrap(bytes, start, length));
      return;
    }
    byte[] size = (Integer.toHexString(length) + "\r\n").getBytes(StandardCharsets.ISO_8859_1);
    ByteBuffer chunk = ByteBuffer.allocate(size.length + length + 2);
    connection.write(chunk.put(size).put(bytes, start, length).put((byte) '\r').put((byte) '\n').flip());
  }
}
