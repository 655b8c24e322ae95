package treadle;

import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;

/** The head of an HTTP/1 request. Strict: what two readers could take for two things is refused. */
final class RequestHead {
  /** @see #status */
  static final class Malformed extends Exception {
    private static final long serialVersionUID = 1;
    final int status;

    Malformed(int status, String message) {
      super(message);
      this.status = status;
    }
  }

  final String method;
  final String target;
  final boolean isVersion11;
  /** Lower-case names; several of one name joined with a comma. */
  final Map<String, String> headers = new LinkedHashMap<>();
  /** -1: chunked. */
  final long length;

  /** `bytes[start, end)`: the head without the empty line at its end. */
  RequestHead(byte[] bytes, int start, int end) throws Malformed {
    String[] lines = new String(bytes, start, end - start, StandardCharsets.ISO_8859_1).split("\r\n", -1);
    String[] first = lines[0].split(" ", -1);
    if (first.length != 3 || !isToken(first[0]) || first[1].isEmpty()) throw new Malformed(400, "Malformed request line.");
    if (!first[2].equals("HTTP/1.1") && !first[2].equals("HTTP/1.0")) throw new Malformed(505, "Only HTTP/1 is spoken here.");
    method = first[0];
    target = first[1];
    isVersion11 = first[2].equals("HTTP/1.1");
    for (int i = 1; i < lines.length; i++) {
      int colon = lines[i].indexOf(':');
      if (colon < 1 || !isToken(lines[i].substring(0, colon))) throw new Malformed(400, "Malformed header.");
      String value = lines[i].substring(colon + 1).strip();
      if (value.indexOf('\r') >= 0 || value.indexOf('\n') >= 0 || value.indexOf(0) >= 0) throw new Malformed(400, "Malformed header.");
      headers.merge(lines[i].substring(0, colon).toLowerCase(Locale.ROOT), value, (a, b) -> a + ", " + b);
    }
    length = bodyLength();
  }

  private long bodyLength() throws Malformed {
    String coding = headers.get("transfer-encoding");
    String given = headers.get("content-length");
    if (coding != null) {
      if (given != null || !isVersion11) throw new Malformed(400, "Two lengths of one body.");
      if (!coding.equalsIgnoreCase("chunked")) throw new Malformed(501, "Only the transfer encoding chunked is known.");
      return -1;
    }
    if (given == null) return 0;
    if (given.isEmpty() || given.length() > 15) throw new Malformed(400, "Malformed content-length.");
    for (int i = 0; i < given.length(); i++) {
      if (given.charAt(i) < '0' || given.charAt(i) > '9') throw new Malformed(400, "Malformed content-length.");
    }
    return Long.parseLong(given);
  }

  boolean keepsAlive() {
    return isVersion11 && !headers.getOrDefault("connection", "").toLowerCase(Locale.ROOT).contains("close");
  }

  /** A name of a header or method. */
  static boolean isToken(String text) {
    if (text.isEmpty()) return false;
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      boolean isPlain = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9';
      if (!isPlain && "!#$%&'*+-.^_`|~".indexOf(c) < 0) return false;
    }
    return true;
  }
}
