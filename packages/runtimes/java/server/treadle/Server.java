package treadle;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.LinkedTransferQueue;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/**
 * An HTTP/1.1 server: one thread reads all connections, others run user code. Our own, since the JDK's has no unix sockets, and Jetty's some 1,500 classes would
 * be loaded on every cold start.
 */
final class Server {
  /** Below the threads that a sandbox may have (128), with room for those of the JVM and of user code. */
  private static final int MOST_THREADS = 64;

  final Settings settings;
  private final Selector selector;
  private final ServerSocketChannel listener;
  private final ConcurrentLinkedQueue<Runnable> tasks = new ConcurrentLinkedQueue<>();
  private final ThreadPoolExecutor workers;
  private ScheduledThreadPoolExecutor clock;
  private UserFunction function;
  private UserFunction lastLoad;
  private double loadSeconds;

  /** `known`: a function that is loaded already, or null. */
  Server(Settings settings, UserFunction known) throws IOException {
    this.settings = settings;
    function = known;
    selector = Selector.open();
    listener = listen();
    listener.configureBlocking(false);
    listener.register(selector, SelectionKey.OP_ACCEPT);
    // Hands work to an idle thread, else to a new one, and queues it only when there are as many as may be.
    LinkedTransferQueue<Runnable> queue = new LinkedTransferQueue<>() {
      private static final long serialVersionUID = 1;

      @Override
      public boolean offer(Runnable task) {
        return tryTransfer(task);
      }
    };
    workers = new ThreadPoolExecutor(1, MOST_THREADS, 10, TimeUnit.SECONDS, queue, Server::workerThread, (task, pool) -> queue.put(task));
  }

  private static Thread workerThread(Runnable task) {
    Thread thread = new Thread(null, task, "function", 1 << 20, false);
    thread.setDaemon(true);
    return thread;
  }

  private ServerSocketChannel listen() throws IOException {
    if (settings.socket.isEmpty()) {
      SocketAddress address = new InetSocketAddress("0.0.0.0", settings.port);
      return ServerSocketChannel.open(StandardProtocolFamily.INET).bind(address, 1024);
    }
    Path path = Path.of(settings.socket);
    Files.deleteIfExists(path);
    return ServerSocketChannel.open(StandardProtocolFamily.UNIX).bind(UnixDomainSocketAddress.of(path), 1024);
  }

  /** Serves until the process ends. */
  void run() throws IOException {
    workers.execute(this::function);
    while (true) {
      selector.select(this::ready);
      for (Runnable task = tasks.poll(); task != null; task = tasks.poll()) task.run();
    }
  }

  private void ready(SelectionKey key) {
    if (!key.isValid()) return;
    if (key.attachment() instanceof Connection) {
      Connection connection = (Connection) key.attachment();
      try {
        connection.ready();
      } catch (RuntimeException e) {
        // Whatever a caller sent: its connection ends, the server stays.
        Logs.announce("A connection failed: " + Exchange.trace(e));
        connection.close();
      }
      return;
    }
    try {
      SocketChannel channel = listener.accept();
      if (channel == null) return;
      channel.configureBlocking(false);
      if (settings.socket.isEmpty()) channel.setOption(java.net.StandardSocketOptions.TCP_NODELAY, true);
      new Connection(channel, selector, this);
    } catch (IOException e) {
      Logs.announce("A connection could not be taken: " + e.getMessage());
    }
  }

  /** Runs something on the server's thread. */
  void later(Runnable task) {
    tasks.add(task);
    selector.wakeup();
  }

  void take(Exchange exchange) {
    if (!exchange.answeredAtOnce(this)) workers.execute(exchange);
  }

  /** The user's function, loaded; a failure is tried again by the next request. */
  synchronized UserFunction function() {
    if (function != null) return function;
    long started = System.nanoTime();
    UserFunction loaded = UserFunction.load(settings.code, settings.entrypoint);
    loadSeconds = (System.nanoTime() - started) / 1e9;
    if (loaded.failure() == null) function = loaded;
    lastLoad = loaded;
    return loaded;
  }

  /** What the last attempt to load came to; the first, if there was none. */
  synchronized UserFunction lastLoad() {
    return lastLoad == null ? function() : lastLoad;
  }

  synchronized ScheduledThreadPoolExecutor clock() {
    if (clock == null) {
      clock = new ScheduledThreadPoolExecutor(1, Server::workerThread);
      clock.setRemoveOnCancelPolicy(true);
    }
    return clock;
  }

  String timings() {
    String before = "";
    try {
      Path file = Path.of("/mnt/telemetry/timings.txt");
      if (Files.exists(file)) before = Files.readString(file).stripTrailing() + "\n";
    } catch (IOException e) {
      // Only what the image's start script left.
    }
    return before + "load=" + Math.round(loadSeconds * 1000) / 1000.0 + "\n";
  }
}
