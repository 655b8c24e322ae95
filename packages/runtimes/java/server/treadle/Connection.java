package treadle;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;

/**
 * One connection: reads requests on the server's thread, one at a time; answers are written by whichever thread has them. Reading goes on while a request is
 * worked on, so that a caller that hangs up is noticed.
 */
final class Connection {
  private static final int MOST_HEAD_BYTES = 64 * 1024;
  private static final int SLICE_BYTES = 64 * 1024;
  private static final byte[] CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n".getBytes(StandardCharsets.ISO_8859_1);

  private enum Chunk {
    SIZE,
    DATA,
    DATA_END,
    TRAILER
  }

  private final SocketChannel channel;
  private final SelectionKey key;
  private final Server server;
  private byte[] in = new byte[8 * 1024];
  /** Bytes not looked at yet: in[from, to). */
  private int from;

  private int to;
  private Exchange exchange;
  /** Of the body under way: bytes to come (of the chunk), -1 when it is over. */
  private long left = -1;
  private Chunk chunk;
  private boolean answered;
  private boolean closing;
  private volatile boolean closed;

  Connection(SocketChannel channel, Selector selector, Server server) throws IOException {
    this.channel = channel;
    this.server = server;
    key = channel.register(selector, SelectionKey.OP_READ, this);
  }

  /** On the server's thread: the channel is ready for something. */
  void ready() {
    try {
      if (key.isWritable()) {
        key.interestOpsAnd(~SelectionKey.OP_WRITE);
        synchronized (key) {
          key.notifyAll();
        }
      }
      if (key.isReadable()) read();
    } catch (IOException | java.nio.channels.CancelledKeyException e) {
      close();
    }
  }

  private synchronized void read() throws IOException {
    if (to == in.length) makeRoom();
    int count = channel.read(ByteBuffer.wrap(in, to, in.length - to));
    if (count < 0) {
      close();
      return;
    }
    to += count;
    proceed();
  }

  private void makeRoom() {
    if (from > 0) {
      System.arraycopy(in, from, in, 0, to - from);
      to -= from;
      from = 0;
    } else if (in.length < MOST_HEAD_BYTES) in = java.util.Arrays.copyOf(in, in.length * 2);
  }

  /** On the server's thread: takes what was read as far as it goes. */
  synchronized void proceed() {
    try {
      while (!closed && step()) {}
      if (from == to) from = to = 0;
      if (closed) return;
      boolean full = to - from >= MOST_HEAD_BYTES || (exchange != null && exchange.body.isFull());
      if (full) key.interestOpsAnd(~SelectionKey.OP_READ);
      else key.interestOpsOr(SelectionKey.OP_READ);
    } catch (RequestHead.Malformed e) {
      refuse(e.status, e.getMessage());
    }
  }

  private boolean step() throws RequestHead.Malformed {
    if (exchange != null && left >= 0) return readBody();
    if (exchange != null && !answered) return false;
    if (closing) {
      close();
      return false;
    }
    exchange = null;
    return readHead();
  }

  private boolean readHead() throws RequestHead.Malformed {
    while (from < to && (in[from] == '\r' || in[from] == '\n')) from++;
    int end = from;
    while (end + 3 < to && !(in[end] == '\r' && in[end + 1] == '\n' && in[end + 2] == '\r' && in[end + 3] == '\n')) end++;
    if (end + 3 >= to) {
      if (to - from >= MOST_HEAD_BYTES) throw new RequestHead.Malformed(431, "The request's headers are too large.");
      return false;
    }
    RequestHead head = new RequestHead(in, from, end);
    from = end + 4;
    answered = false;
    closing = !head.keepsAlive();
    exchange = new Exchange(this, head, new RequestBody(() -> server.later(this::proceed)));
    chunk = head.length < 0 ? Chunk.SIZE : null;
    left = Math.max(head.length, 0);
    if (head.headers.getOrDefault("expect", "").equalsIgnoreCase("100-continue")) writeNow(ByteBuffer.wrap(CONTINUE));
    if (left == 0 && chunk == null) endBody(true);
    else if (head.length > 0 && to - from >= head.length) readBody();
    server.take(exchange);
    return true;
  }

  private void endBody(boolean whole) {
    left = -1;
    exchange.body.end(whole);
  }

  /** False: more is needed. */
  private boolean readBody() throws RequestHead.Malformed {
    if (chunk == null || chunk == Chunk.DATA) {
      int count = (int) Math.min(left, to - from);
      if (count == 0) return false;
      if (exchange.body.isFull()) return false;
      exchange.body.add(in, from, count);
      from += count;
      left -= count;
      if (left > 0) return false;
      if (chunk == null) endBody(true);
      else chunk = Chunk.DATA_END;
      return true;
    }
    int end = from;
    while (end + 1 < to && !(in[end] == '\r' && in[end + 1] == '\n')) end++;
    if (end + 1 >= to) {
      if (to - from > 1024) throw new RequestHead.Malformed(400, "Malformed chunk.");
      return false;
    }
    String line = new String(in, from, end - from, StandardCharsets.ISO_8859_1);
    from = end + 2;
    if (chunk == Chunk.SIZE) {
      left = chunkSize(line);
      chunk = left == 0 ? Chunk.TRAILER : Chunk.DATA;
    } else if (chunk == Chunk.DATA_END) {
      if (!line.isEmpty()) throw new RequestHead.Malformed(400, "Malformed chunk.");
      chunk = Chunk.SIZE;
    } else if (line.isEmpty()) endBody(true);
    return true;
  }

  private static long chunkSize(String line) throws RequestHead.Malformed {
    int semicolon = line.indexOf(';');
    String digits = (semicolon < 0 ? line : line.substring(0, semicolon)).strip();
    if (digits.isEmpty() || digits.length() > 12) throw new RequestHead.Malformed(400, "Malformed chunk.");
    long size = 0;
    for (int i = 0; i < digits.length(); i++) {
      int digit = Character.digit(digits.charAt(i), 16);
      if (digit < 0 || digits.charAt(i) > 127) throw new RequestHead.Malformed(400, "Malformed chunk.");
      size = size * 16 + digit;
    }
    return size;
  }

  private void refuse(int status, String message) {
    if (exchange != null && !answered) {
      close();
      return;
    }
    byte[] body = message.getBytes(StandardCharsets.UTF_8);
    String head = "HTTP/1.1 " + status + " \r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: " + body.length + "\r\n\r\n";
    writeNow(ByteBuffer.wrap((head + message).getBytes(StandardCharsets.UTF_8)));
    close();
  }

  /** Writes what the socket takes at once; a caller that does not read its answers is hung up on. */
  void writeNow(ByteBuffer bytes) {
    try {
      channel.write(bytes);
      if (bytes.hasRemaining()) close();
    } catch (IOException e) {
      close();
    }
  }

  /** Writes all, waiting for the caller to take it. Not for the server's own thread. @throws IOException when the caller is gone */
  void write(ByteBuffer bytes) throws IOException {
    // A thread that was interrupted would close the channel by writing to it.
    boolean interrupted = Thread.interrupted();
    int end = bytes.limit();
    while (bytes.position() < end) {
      if (closed) throw new IOException("The caller is gone.");
      // Slices, since the JDK copies each into memory outside of the heap, and keeps that.
      bytes.limit(Math.min(end, bytes.position() + SLICE_BYTES));
      if (channel.write(bytes) == 0) awaitWritable();
      bytes.limit(end);
    }
    if (interrupted) Thread.currentThread().interrupt();
  }

  private void awaitWritable() throws IOException {
    synchronized (key) {
      if (closed) throw new IOException("The caller is gone.");
      try {
        key.interestOpsOr(SelectionKey.OP_WRITE);
        key.selector().wakeup();
        key.wait(1000);
      } catch (InterruptedException | java.nio.channels.CancelledKeyException e) {
        close();
        throw new IOException("The answer was given up.", e);
      }
    }
  }

  /** The answer is written: the next request may be taken. `reusable`: the caller can tell where the answer ends. */
  void answered(boolean reusable) {
    boolean more;
    synchronized (this) {
      answered = true;
      closing |= !reusable;
      exchange.body.discard();
      more = closing || from < to || left >= 0 || (key.isValid() && (key.interestOps() & SelectionKey.OP_READ) == 0);
    }
    if (more) server.later(this::proceed);
  }

  boolean keepsAlive() {
    return !closing;
  }

  void close() {
    if (closed) return;
    closed = true;
    Exchange open = exchange;
    if (open != null) {
      open.body.end(false);
      open.givenUp();
    }
    key.cancel();
    try {
      channel.close();
    } catch (IOException e) {
      // It is gone either way.
    }
    synchronized (key) {
      key.notifyAll();
    }
  }
}
