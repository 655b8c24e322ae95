package treadle;

import io.openruntimes.java.RuntimeLogger;
import java.util.Map;

/** One run of user code: its log, and whether it still matters. */
final class Execution extends RuntimeLogger {
  final String id;
  final boolean logging;
  final Logs.Lines[] printed = {new Logs.Lines(), new Logs.Lines()};
  private Thread thread;
  private volatile boolean over;

  Execution(String id, boolean logging) {
    this.id = id;
    this.logging = logging;
  }

  /** What is logged from now on is tied to no execution. */
  boolean isOver() {
    return over;
  }

  synchronized void begin() {
    thread = Thread.currentThread();
    Logs.CURRENT.set(this);
  }

  /** The thread is about to work for another. */
  synchronized void leave() {
    thread = null;
    Logs.CURRENT.remove();
    Thread.interrupted();
  }

  /** Whoever ends it writes the outcome to the log first; later output is nobody's. */
  void end() {
    printed[0].flush(this, 0);
    printed[1].flush(this, 1);
    over = true;
  }

  /** Ends it with the reason as its last entry. */
  void end(String why) {
    printed[0].flush(this, 0);
    printed[1].flush(this, 1);
    Logs.entry(this, "error", why, null);
    over = true;
  }

  /** Tells the code that nobody waits for it any more. Java cannot do more. */
  synchronized void interrupt() {
    if (thread != null) thread.interrupt();
  }

  @Override
  protected void entry(String level, String text, Map<String, ?> fields) {
    Logs.entry(this, level, text == null ? "null" : text, fields);
  }

  @Override
  protected String join(Object[] messages) {
    StringBuilder text = new StringBuilder();
    for (Object message : messages) {
      if (text.length() > 0) text.append(' ');
      boolean isText = message == null || message instanceof CharSequence || message instanceof Throwable;
      text.append(isText ? String.valueOf(message) : unquoted(message));
    }
    return text.toString();
  }

  private static String unquoted(Object message) {
    String json = Json.write(message);
    return json.startsWith("\"") ? message.toString() : json;
  }
}
