package treadle;

import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;

/** The environment, read once and before user code. */
final class Settings {
  final String socket;
  final int port;
  final Path code;
  final String entrypoint;
  final byte[] secret;
  final Map<String, String> enforcedHeaders = new LinkedHashMap<>();
  final boolean development;
  /** Null: logs go to stdout. */
  final Path logs;

  Settings(Map<String, String> environment) {
    socket = environment.getOrDefault("TREADLE_SOCKET", "");
    port = Integer.parseInt(given(environment, "PORT", "3000"));
    code = Path.of(given(environment, "TREADLE_CODE", "/usr/local/server/src/function"));
    entrypoint = given(environment, "OPEN_RUNTIMES_ENTRYPOINT", System.getProperty("treadle.entrypoint", "Main.java"));
    secret = environment.getOrDefault("OPEN_RUNTIMES_SECRET", "").getBytes(StandardCharsets.UTF_8);
    development = environment.getOrDefault("OPEN_RUNTIMES_ENV", "").equals("development");
    Path folder = Path.of(given(environment, "TREADLE_LOGS", "/mnt/logs"));
    logs = Files.isDirectory(folder) ? folder : null;
    String enforced = environment.getOrDefault("OPEN_RUNTIMES_HEADERS", "");
    if (!enforced.isEmpty()) {
      for (Map.Entry<?, ?> header : ((Map<?, ?>) Json.read(enforced)).entrySet()) {
        enforcedHeaders.put(header.getKey().toString().toLowerCase(Locale.ROOT), String.valueOf(header.getValue()));
      }
    }
    if (environment.containsKey("OPEN_RUNTIMES_SECRET")) forget("OPEN_RUNTIMES_SECRET");
  }

  private static String given(Map<String, String> environment, String name, String otherwise) {
    String value = environment.get(name);
    return value == null || value.isEmpty() ? otherwise : value;
  }

  /**
   * Takes a variable out of what System.getenv and new processes get to see. The JDK has no way to; `--add-opens` would cost the archived modules, and with them
   * a good part of the start.
   */
  @SuppressWarnings("sunapi")
  private static void forget(String name) {
    try {
      Field instance = sun.misc.Unsafe.class.getDeclaredField("theUnsafe");
      instance.setAccessible(true);
      sun.misc.Unsafe unsafe = (sun.misc.Unsafe) instance.get(null);
      Field field = Class.forName("java.lang.ProcessEnvironment").getDeclaredField("theEnvironment");
      Map<?, ?> variables = (Map<?, ?>) unsafe.getObject(unsafe.staticFieldBase(field), unsafe.staticFieldOffset(field));
      variables.keySet().removeIf(key -> key.toString().equals(name));
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException("The secret cannot be hidden from user code on this Java.", e);
    }
  }
}
