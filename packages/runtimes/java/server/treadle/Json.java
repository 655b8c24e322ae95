package treadle;

import java.lang.reflect.Array;
import java.lang.reflect.RecordComponent;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** JSON text, read and written. The JDK has none, and a library would be one more thing to load on each cold start. */
public final class Json {
  private static final int MAX_DEPTH = 500;
  private static final char[] HEX = "0123456789abcdef".toCharArray();

  private final String text;
  private int at;

  private Json(String text) {
    this.text = text;
  }

  /** Compact. @throws IllegalArgumentException when nested too deep, as what contains itself is */
  public static String write(Object value) {
    StringBuilder out = new StringBuilder();
    write(out, value, 0);
    return out.toString();
  }

  private static void write(StringBuilder out, Object value, int depth) {
    if (depth > MAX_DEPTH) throw new IllegalArgumentException("nested too deep for JSON");
    if (value == null) out.append("null");
    else if (value instanceof CharSequence || value instanceof Character || value instanceof Enum) quote(out, value.toString());
    else if (value instanceof Double || value instanceof Float) number(out, ((Number) value).doubleValue(), value);
    else if (value instanceof Number || value instanceof Boolean) out.append(value);
    else if (value instanceof Map) {
      char before = '{';
      for (Map.Entry<?, ?> entry : ((Map<?, ?>) value).entrySet()) {
        out.append(before);
        quote(out, String.valueOf(entry.getKey()));
        out.append(':');
        write(out, entry.getValue(), depth + 1);
        before = ',';
      }
      out.append(before == '{' ? "{}" : "}");
    } else if (value instanceof Iterable) {
      char before = '[';
      for (Object each : (Iterable<?>) value) {
        out.append(before);
        write(out, each, depth + 1);
        before = ',';
      }
      out.append(before == '[' ? "[]" : "]");
    } else if (value.getClass().isArray()) {
      int length = Array.getLength(value);
      out.append('[');
      for (int i = 0; i < length; i++) {
        if (i > 0) out.append(',');
        write(out, Array.get(value, i), depth + 1);
      }
      out.append(']');
    } else if (value instanceof Record) writeRecord(out, value, depth);
    else quote(out, value.toString());
  }

  private static void writeRecord(StringBuilder out, Object value, int depth) {
    char before = '{';
    for (RecordComponent component : value.getClass().getRecordComponents()) {
      out.append(before);
      quote(out, component.getName());
      out.append(':');
      try {
        var accessor = component.getAccessor();
        accessor.setAccessible(true);
        write(out, accessor.invoke(value), depth + 1);
      } catch (ReflectiveOperationException e) {
        throw new IllegalArgumentException("a record that cannot be read: " + e);
      }
      before = ',';
    }
    out.append(before == '{' ? "{}" : "}");
  }

  private static void number(StringBuilder out, double number, Object value) {
    out.append(Double.isNaN(number) || Double.isInfinite(number) ? "null" : value);
  }

  /** A text as JSON, quotes and all; lone surrogates are escaped, so that the output is always valid UTF-8. */
  static void quote(StringBuilder out, String text) {
    out.append('"');
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (c == '"' || c == '\\') out.append('\\').append(c);
      else if (c == '\n') out.append("\\n");
      else if (c == '\r') out.append("\\r");
      else if (c == '\t') out.append("\\t");
      else if (c < ' ' || isLone(text, i)) {
        out.append("\\u").append(HEX[c >> 12]).append(HEX[c >> 8 & 15]).append(HEX[c >> 4 & 15]).append(HEX[c & 15]);
      } else out.append(c);
    }
    out.append('"');
  }

  private static boolean isLone(String text, int i) {
    char c = text.charAt(i);
    if (Character.isHighSurrogate(c)) return i + 1 == text.length() || !Character.isLowSurrogate(text.charAt(i + 1));
    return Character.isLowSurrogate(c) && (i == 0 || !Character.isHighSurrogate(text.charAt(i - 1)));
  }

  /** Maps, lists, texts, Long, Double, Boolean or null. @throws IllegalArgumentException that says where it is wrong */
  public static Object read(String text) {
    Json json = new Json(text);
    Object value = json.value(0);
    json.space();
    if (json.at < text.length()) throw json.wrong();
    return value;
  }

  private IllegalArgumentException wrong() {
    return new IllegalArgumentException(at >= text.length() ? "unexpected end of JSON" : "unexpected character at position " + at);
  }

  private void space() {
    while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) at++;
  }

  private char peek() {
    space();
    if (at >= text.length()) throw wrong();
    return text.charAt(at);
  }

  private Object value(int depth) {
    if (depth > MAX_DEPTH) throw new IllegalArgumentException("nested too deep");
    char c = peek();
    switch (c) {
      case '{':
        return object(depth);
      case '[':
        return array(depth);
      case '"':
        return string();
      case 't':
        return word("true", Boolean.TRUE);
      case 'f':
        return word("false", Boolean.FALSE);
      case 'n':
        return word("null", null);
      default:
        return number();
    }
  }

  private Object word(String word, Object value) {
    if (!text.startsWith(word, at)) throw wrong();
    at += word.length();
    return value;
  }

  private Map<String, Object> object(int depth) {
    Map<String, Object> object = new LinkedHashMap<>();
    at++;
    if (peek() == '}') {
      at++;
      return object;
    }
    while (true) {
      if (peek() != '"') throw wrong();
      String key = string();
      if (peek() != ':') throw wrong();
      at++;
      object.put(key, value(depth + 1));
      char c = peek();
      if (c != ',' && c != '}') throw wrong();
      at++;
      if (c == '}') return object;
    }
  }

  private List<Object> array(int depth) {
    List<Object> array = new ArrayList<>();
    at++;
    if (peek() == ']') {
      at++;
      return array;
    }
    while (true) {
      array.add(value(depth + 1));
      char c = peek();
      if (c != ',' && c != ']') throw wrong();
      at++;
      if (c == ']') return array;
    }
  }

  private String string() {
    int start = ++at;
    StringBuilder built = null;
    while (true) {
      if (at >= text.length()) throw wrong();
      char c = text.charAt(at);
      if (c < ' ') throw wrong();
      if (c == '"') {
        String rest = text.substring(start, at++);
        return built == null ? rest : built.append(rest).toString();
      }
      if (c != '\\') {
        at++;
        continue;
      }
      if (built == null) built = new StringBuilder();
      built.append(text, start, at++);
      if (at >= text.length()) throw wrong();
      char escaped = text.charAt(at);
      int which = "\"\\/bfnrt".indexOf(escaped);
      if (which >= 0) built.append("\"\\/\b\f\n\r\t".charAt(which));
      else if (escaped == 'u') built.append(hex());
      else throw wrong();
      start = ++at;
    }
  }

  /** The four digits after a `u`; leaves `at` on the last of them. */
  private char hex() {
    int code = 0;
    for (int i = 0; i < 4; i++) {
      if (++at >= text.length()) throw wrong();
      int digit = Character.digit(text.charAt(at), 16);
      if (digit < 0 || text.charAt(at) > 'f') throw wrong();
      code = code * 16 + digit;
    }
    return (char) code;
  }

  private int digits() {
    int start = at;
    while (at < text.length() && text.charAt(at) >= '0' && text.charAt(at) <= '9') at++;
    if (at == start) throw wrong();
    return at - start;
  }

  private Object number() {
    int start = at;
    boolean whole = true;
    if (text.charAt(at) == '-') at++;
    boolean zero = at < text.length() && text.charAt(at) == '0';
    int first = at;
    if (digits() > 1 && zero) {
      at = first + 1;
      throw wrong();
    }
    if (at < text.length() && text.charAt(at) == '.') {
      whole = false;
      at++;
      digits();
    }
    if (at < text.length() && (text.charAt(at) | 32) == 'e') {
      whole = false;
      at++;
      if (at < text.length() && (text.charAt(at) == '+' || text.charAt(at) == '-')) at++;
      digits();
    }
    String number = text.substring(start, at);
    if (whole && number.length() < 19) return Long.parseLong(number);
    return Double.parseDouble(number);
  }
}
