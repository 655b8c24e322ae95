package treadle;

import io.openruntimes.java.RuntimeContext;
import io.openruntimes.java.RuntimeOutput;
import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;

/**
 * Run once by each build, so that the JVM can write an archive of the classes a start needs (-XX:ArchiveClassesAtExit): answers some requests with a function
 * of its own, and loads the user's classes without running anything of them. `Training SOCKET JAR...`.
 */
public final class Training {
  private static final int MOST_CLASSES = 5000;
  private static final String HEAD = "POST /path?a=b HTTP/1.1\r\nhost: localhost:3000\r\nx-open-runtimes-timeout: 5\r\n";

  /** Answers like a usual function. */
  public static final class Sample {
    public RuntimeOutput main(RuntimeContext context) throws Exception {
      context.log("trained", 1, List.of(1));
      System.out.println("trained");
      Object body = context.getReq().getBody();
      if (body instanceof String) return context.getRes().text(context.getReq().getPath() + body, 200, Map.of("x-test", List.of("a", "b")));
      if (context.getReq().getQuery().isEmpty()) return context.getRes().stream(out -> out.write(65));
      return context.getRes().json(body);
    }
  }

  private Training() {}

  public static void main(String[] arguments) throws Exception {
    Settings settings = new Settings(withSocket(arguments[0]));
    Logs.capture(null);
    Server server = new Server(settings, UserFunction.of(Sample.class));
    Thread serving = new Thread(() -> serve(server));
    serving.setDaemon(true);
    serving.start();
    for (int i = 0; i < 20; i++) {
      ask(settings, HEAD + "content-length: 2\r\n\r\nhi");
      ask(settings, HEAD + "content-type: application/json\r\ncontent-length: 13\r\n\r\n{\"a\":[1,2.5]}");
      ask(settings, HEAD.replace("?a=b", "") + "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n");
    }
    Path entry = Path.of(arguments[0] + ".java");
    Files.writeString(entry, "package treadle;\n");
    UserFunction.load(entry.getParent(), entry.getFileName().toString());
    loadKotlin();
    for (int i = 1; i < arguments.length; i++) loadClasses(arguments[i]);
    System.exit(0);
  }

  private static Map<String, String> withSocket(String socket) {
    Map<String, String> environment = new HashMap<>(System.getenv());
    environment.put("TREADLE_SOCKET", socket);
    environment.put("TREADLE_LOGS", "/nonexistent");
    return environment;
  }

  private static void serve(Server server) {
    try {
      server.run();
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  private static void ask(Settings settings, String request) throws IOException {
    try (SocketChannel channel = SocketChannel.open(UnixDomainSocketAddress.of(settings.socket))) {
      channel.write(ByteBuffer.wrap(request.getBytes(StandardCharsets.UTF_8)));
      ByteBuffer answer = ByteBuffer.allocate(4096);
      if (channel.read(answer) < 12) throw new IOException("The server does not answer.");
    }
  }

  private static void loadKotlin() {
    try {
      Class.forName("treadle.kotlin.SuspendedMain").getDeclaredConstructor().newInstance();
    } catch (ReflectiveOperationException e) {
      // Not a Kotlin function.
    }
  }

  private static void loadClasses(String jar) throws IOException {
    int count = 0;
    try (JarFile file = new JarFile(jar)) {
      for (JarEntry entry : (Iterable<JarEntry>) file.stream()::iterator) {
        String name = entry.getName();
        if (!name.endsWith(".class") || name.startsWith("META-INF/") || ++count > MOST_CLASSES) continue;
        try {
          Class.forName(name.substring(0, name.length() - 6).replace('/', '.'), false, ClassLoader.getSystemClassLoader());
        } catch (Throwable e) {
          // A class that cannot be loaded here may never be needed.
        }
      }
    }
  }
}
