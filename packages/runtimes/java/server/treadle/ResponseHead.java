package treadle;

import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.util.Locale;
import java.util.Map;

/** Writes heads of answers. */
final class ResponseHead {
  private ResponseHead() {}

  /** @throws IllegalArgumentException for a status or header that HTTP does not have */
  static StringBuilder begin(int status) {
    if (status < 100 || status > 599) throw new IllegalArgumentException("Impossible status code " + status + ".");
    return new StringBuilder(192).append("HTTP/1.1 ").append(status).append(status == 200 ? " OK\r\n" : " \r\n");
  }

  /** Adds user code's headers; those of the connection are the server's, and `x-open-runtimes-*` is nobody's. */
  static void add(StringBuilder head, Map<String, ?> headers) {
    for (Map.Entry<String, ?> header : headers.entrySet()) {
      String name = header.getKey().toLowerCase(Locale.ROOT);
      if (!RequestHead.isToken(name)) throw new IllegalArgumentException("Impossible header name.");
      boolean isOwn = name.equals("content-length") || name.equals("transfer-encoding") || name.equals("connection");
      if (isOwn || name.equals("keep-alive") || name.startsWith("x-open-runtimes-")) continue;
      Object value = header.getValue();
      if (value instanceof Object[]) value = java.util.Arrays.asList((Object[]) value);
      if (value instanceof Iterable) {
        for (Object each : (Iterable<?>) value) line(head, name, each);
      } else line(head, name, value);
    }
  }

  private static void line(StringBuilder head, String name, Object given) {
    String value = String.valueOf(given);
    for (int i = 0; i < value.length(); i++) {
      char c = value.charAt(i);
      if ((c < ' ' && c != '\t') || c == 127) throw new IllegalArgumentException("Impossible value of the header " + name + ".");
    }
    if (name.equals("content-type")) {
      value = value.toLowerCase(Locale.ROOT);
      if (!value.startsWith("multipart/") && !value.contains("charset=")) value += "; charset=utf-8";
    }
    head.append(name).append(": ").append(value).append("\r\n");
  }

  /** Bytes as they came, where they can be; else UTF-8. */
  static byte[] bytes(CharSequence head) {
    boolean isLatin = head.chars().allMatch(c -> c < 256);
    Charset charset = isLatin ? StandardCharsets.ISO_8859_1 : StandardCharsets.UTF_8;
    return head.toString().getBytes(charset);
  }
}
