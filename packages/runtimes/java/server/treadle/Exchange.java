package treadle;

import io.openruntimes.java.RuntimeContext;
import io.openruntimes.java.RuntimeOutput;
import io.openruntimes.java.RuntimeRequest;
import io.openruntimes.java.RuntimeResponse;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;

/** A request and its answer, which is given once, by whoever claims it: the function's thread, the clock, or nobody when the caller has gone. */
final class Exchange implements Runnable {
  private static final String LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz";
  private static final int MOST_TIMEOUT_SECONDS = 2_147_483;

  final Connection connection;
  final RequestHead head;
  final RequestBody body;
  private final AtomicBoolean claimed = new AtomicBoolean();
  private volatile boolean streaming;
  private boolean asksForLoad;
  private volatile Execution execution;
  private Settings settings;
  private Server server;
  private long timeoutSeconds;

  Exchange(Connection connection, RequestHead head, RequestBody body) {
    this.connection = connection;
    this.head = head;
    this.body = body;
  }

  /** On the server's thread: what needs no user code is answered at once. False: `run` is to be called on another thread. */
  boolean answeredAtOnce(Server theServer) {
    server = theServer;
    settings = theServer.settings;
    if (head.target.equals("/__opr/health")) return plain(200, "OK");
    if (head.target.equals("/__opr/timings")) return plain(200, theServer.timings());
    String secret = head.headers.getOrDefault("x-open-runtimes-secret", "");
    if (settings.secret.length > 0 && !MessageDigest.isEqual(secret.getBytes(StandardCharsets.ISO_8859_1), settings.secret)) {
      return plain(500, "Unauthorized. Provide correct \"x-open-runtimes-secret\" header.");
    }
    String timeout = head.headers.getOrDefault("x-open-runtimes-timeout", "");
    timeoutSeconds = timeout.isEmpty() ? 0 : wholeSeconds(timeout);
    if (timeoutSeconds < 0) return plain(500, "Header \"x-open-runtimes-timeout\" must be an integer greater than 0.");
    String logging = head.headers.getOrDefault("x-open-runtimes-logging", "");
    if (!logging.isEmpty() && !logging.equals("enabled") && !logging.equals("disabled")) {
      return plain(500, "Header \"x-open-runtimes-logging\" must be either \"enabled\" or \"disabled\".");
    }
    if (head.length > RequestBody.MOST_BYTES) return false;
    execution = new Execution(logId(), !logging.equals("disabled"));
    asksForLoad = head.target.equals("/__opr/load");
    return false;
  }

  private static long wholeSeconds(String text) {
    if (text.length() > 10 || !text.chars().allMatch(c -> c >= '0' && c <= '9')) return -1;
    long seconds = Long.parseLong(text);
    return seconds > 0 && seconds <= MOST_TIMEOUT_SECONDS ? seconds : -1;
  }

  private String logId() {
    String asked = head.headers.getOrDefault("x-open-runtimes-log-id", "");
    boolean isName = asked.chars().allMatch(c -> c < 128 && (Character.isLetterOrDigit(c) || c == '_' || c == '-'));
    if (!asked.isEmpty() && asked.length() <= 64 && isName) return asked;
    if (settings.development) return "dev";
    StringBuilder id = new StringBuilder(20);
    for (int i = 0; i < 20; i++) id.append(LETTERS.charAt(ThreadLocalRandom.current().nextInt(36)));
    return id.toString();
  }

  /** Answers without waiting. Always true. */
  private boolean plain(int status, String text) {
    return plain(status, text, "");
  }

  private boolean plain(int status, String text, String moreHead) {
    if (!claimed.compareAndSet(false, true)) return true;
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    StringBuilder top = ResponseHead.begin(status);
    top.append("content-type: text/plain; charset=utf-8\r\n").append(moreHead);
    connection.writeNow(framed(top, bytes, status));
    connection.answered(true);
    return true;
  }

  /** Head and body as they go out; a body that the request or the status rules out is left away. */
  private ByteBuffer framed(StringBuilder top, byte[] bytes, int status) {
    boolean bodiless = status < 200 || status == 204 || status == 304;
    if (!bodiless) top.append("content-length: ").append(bytes.length).append("\r\n");
    if (!connection.keepsAlive() || status < 200) top.append("connection: close\r\n");
    byte[] first = ResponseHead.bytes(top.append("\r\n"));
    boolean sendsBody = !bodiless && !head.method.equals("HEAD");
    ByteBuffer all = ByteBuffer.allocate(first.length + (sendsBody ? bytes.length : 0));
    all.put(first);
    if (sendsBody) all.put(bytes);
    return all.flip();
  }

  @Override
  public void run() {
    try {
      if (execution == null) tooLarge();
      else if (asksForLoad) tellLoad();
      else work();
    } catch (IOException e) {
      connection.close();
    } catch (Throwable e) {
      Logs.announce("A request failed: " + trace(e));
      connection.close();
    }
  }

  /** Tells what the last attempt to load came to, once it has ended. */
  private void tellLoad() {
    String failure = server.lastLoad().failure();
    if (failure == null) plain(200, "OK", "");
    else plain(503, failure, "x-open-runtimes-load: failed\r\n");
  }

  private void tooLarge() throws IOException {
    try {
      body.settle();
    } catch (RequestBody.TooLarge e) {
      answer413();
    }
  }

  private void answer413() {
    if (execution != null) execution.end();
    plain(413, "The request body is larger than 20 MiB.");
  }

  private void work() throws IOException {
    execution.begin();
    Future<?> clock = timeoutSeconds == 0 ? null : server.clock().schedule(this::timedOut, timeoutSeconds, TimeUnit.SECONDS);
    try {
      UserFunction function = server.function();
      RuntimeOutput output;
      try {
        if (function.failure() != null) {
          fail(503, function.failure());
          return;
        }
        output = function.call(context());
        body.settle();
        if (output == null) {
          fail(500, "Return statement missing. return context.res.empty() if no response is expected.");
          return;
        }
        respond(output);
      } catch (RequestBody.TooLarge e) {
        answer413();
      } catch (Throwable e) {
        if (streaming) streamFailed(e);
        else fail(500, trace(e));
      }
    } finally {
      if (clock != null) clock.cancel(false);
      execution.leave();
    }
  }

  private RuntimeContext context() {
    Map<String, String> headers = new LinkedHashMap<>();
    head.headers.forEach((name, value) -> {
      if (!name.startsWith("x-open-runtimes-")) headers.put(name, value);
    });
    headers.putAll(settings.enforcedHeaders);
    return new RuntimeContext(new RuntimeRequest(head.method, head.target, headers, body), new RuntimeResponse(), execution);
  }

  private StringBuilder userHead(int status) {
    return ResponseHead.begin(status).append("x-open-runtimes-log-id: ").append(execution.logging ? execution.id : "").append("\r\n");
  }

  private void respond(RuntimeOutput output) throws Exception {
    StringBuilder top = userHead(output.getStatusCode());
    ResponseHead.add(top, output.getHeaders());
    if (output.getSource() != null) {
      if (!claimed.compareAndSet(false, true)) return;
      streaming = true;
      StreamedAnswer.send(connection, head, top, output);
      execution.end();
      connection.answered(head.isVersion11);
      return;
    }
    // Laid out before it is claimed: what is wrong with it becomes a failure of the function.
    ByteBuffer bytes = framed(top, output.getBody(), output.getStatusCode());
    if (!claimed.compareAndSet(false, true)) return;
    execution.end();
    connection.write(bytes);
    connection.answered(output.getStatusCode() >= 200);
  }

  /** Writes why to the error log, and an answer without a body. */
  private void fail(int status, String why) {
    if (!claimed.compareAndSet(false, true)) return;
    execution.end(why);
    connection.writeNow(framed(userHead(status), new byte[0], status));
    connection.answered(true);
  }

  private void streamFailed(Throwable e) {
    execution.end(trace(e));
    connection.close();
  }

  private void timedOut() {
    if (streaming) streamFailed(new RuntimeException("Execution timed out."));
    else fail(500, "Execution timed out.");
    execution.interrupt();
  }

  /** The caller has hung up. */
  void givenUp() {
    Execution running = execution;
    if (running == null || running.isOver()) return;
    if (claimed.compareAndSet(false, true)) running.end();
    running.interrupt();
  }

  static String trace(Throwable e) {
    StringWriter text = new StringWriter();
    e.printStackTrace(new PrintWriter(text));
    return text.toString().stripTrailing();
  }
}
