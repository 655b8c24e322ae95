package treadle;

import io.openruntimes.java.RuntimeRequest;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.util.ArrayDeque;

/** A request's body on its way from the connection's thread to the function's. */
final class RequestBody implements RuntimeRequest.Body {
  static final int MOST_BYTES = 20 * 1024 * 1024;
  /** A streamed body is read ahead by this much. */
  private static final int WINDOW_BYTES = 256 * 1024;

  /** The body is larger than whoever wants all of it may have. */
  static final class TooLarge extends IOException {
    private static final long serialVersionUID = 1;

    TooLarge() {
      super("The request body is larger than 20 MiB.");
    }
  }

  private final Runnable resume;
  private final ArrayDeque<byte[]> pieces = new ArrayDeque<>();
  private long received;
  private long held;
  private boolean complete;
  private boolean broken;
  private boolean streamed;
  private boolean unwanted;
  private boolean paused;

  /** `resume`: lets the connection read on after it was told to wait. */
  RequestBody(Runnable resume) {
    this.resume = resume;
  }

  synchronized void add(byte[] from, int start, int length) {
    received += length;
    if (unwanted) return;
    if (!streamed && received > MOST_BYTES) {
      // Read to its end, without being kept.
      pieces.clear();
      held = 0;
    } else {
      byte[] piece = new byte[length];
      System.arraycopy(from, start, piece, 0, length);
      pieces.add(piece);
      held += length;
    }
    notifyAll();
  }

  synchronized void end(boolean whole) {
    complete = true;
    broken = !whole;
    notifyAll();
  }

  /** Whether the connection should wait with reading more. */
  synchronized boolean isFull() {
    paused = streamed && !unwanted && held >= WINDOW_BYTES;
    return paused;
  }

  synchronized boolean isComplete() {
    return complete;
  }

  /** Nobody will ask for the rest. */
  synchronized void discard() {
    unwanted = true;
    pieces.clear();
    held = 0;
    if (paused) resume.run();
  }

  /** Waits until it is known whether the body was small enough; streamed bodies may have any size. */
  synchronized void settle() throws IOException {
    if (streamed) return;
    while (!complete) await();
    if (received > MOST_BYTES) throw new TooLarge();
    if (broken) throw new IOException("The request body ended early.");
  }

  private void await() throws InterruptedIOException {
    try {
      wait();
    } catch (InterruptedException e) {
      throw new InterruptedIOException("The request was given up.");
    }
  }

  @Override
  public synchronized byte[] whole() throws IOException {
    if (streamed) throw new IllegalStateException("The body was asked for as a stream.");
    settle();
    if (pieces.size() == 1) return pieces.poll();
    ByteArrayOutputStream all = new ByteArrayOutputStream((int) held);
    for (byte[] piece : pieces) all.write(piece, 0, piece.length);
    pieces.clear();
    return all.toByteArray();
  }

  @Override
  public synchronized InputStream stream() {
    streamed = true;
    return new Reader();
  }

  private synchronized byte[] next() throws IOException {
    while (pieces.isEmpty() && !complete) await();
    byte[] piece = pieces.poll();
    if (piece == null) {
      if (broken) throw new IOException("The request body ended early.");
      return null;
    }
    held -= piece.length;
    if (paused && held < WINDOW_BYTES) {
      paused = false;
      resume.run();
    }
    return piece;
  }

  private final class Reader extends InputStream {
    private byte[] piece = {};
    private int at;

    private boolean fill() throws IOException {
      while (piece != null && at == piece.length) {
        piece = next();
        at = 0;
      }
      return piece != null;
    }

    @Override
    public int read() throws IOException {
      return fill() ? piece[at++] & 255 : -1;
    }

    @Override
    public int read(byte[] into, int start, int length) throws IOException {
      if (length == 0) return 0;
      if (!fill()) return -1;
      int count = Math.min(length, piece.length - at);
      System.arraycopy(piece, at, into, start, count);
      at += count;
      return count;
    }
  }
}
