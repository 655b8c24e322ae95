package io.openruntimes.java;

import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import treadle.Json;

/** Makes responses. The one that the function returns is sent. Headers: a list as value gives one header for each element. */
public final class RuntimeResponse {
  private RuntimeOutput last;

  public RuntimeOutput binary(byte[] body) {
    return binary(body, 200, null);
  }

  public RuntimeOutput binary(byte[] body, int statusCode) {
    return binary(body, statusCode, null);
  }

  /** Bytes; `application/octet-stream` unless the headers name a type. */
  public RuntimeOutput binary(byte[] body, int statusCode, Map<String, ?> headers) {
    return made(body, statusCode, withType(headers, "application/octet-stream"));
  }

  public RuntimeOutput text(String body) {
    return text(body, 200, null);
  }

  public RuntimeOutput text(String body, int statusCode) {
    return text(body, statusCode, null);
  }

  /** Text as UTF-8. */
  public RuntimeOutput text(String body, int statusCode, Map<String, ?> headers) {
    return made(body.getBytes(StandardCharsets.UTF_8), statusCode, withType(headers, "text/plain"));
  }

  /** @deprecated use text */
  @Deprecated
  public RuntimeOutput send(String body) {
    return text(body, 200, null);
  }

  /** @deprecated use text */
  @Deprecated
  public RuntimeOutput send(String body, int statusCode) {
    return text(body, statusCode, null);
  }

  /** @deprecated use text */
  @Deprecated
  public RuntimeOutput send(String body, int statusCode, Map<String, ?> headers) {
    return text(body, statusCode, headers);
  }

  public RuntimeOutput json(Object value) {
    return json(value, 200, null);
  }

  public RuntimeOutput json(Object value, int statusCode) {
    return json(value, statusCode, null);
  }

  /** Maps, lists, arrays, records, texts, numbers, truth values and null as compact JSON; of other things, their text. */
  public RuntimeOutput json(Object value, int statusCode, Map<String, ?> headers) {
    return made(Json.write(value).getBytes(StandardCharsets.UTF_8), statusCode, withType(headers, "application/json"));
  }

  public RuntimeOutput redirect(String url) {
    return redirect(url, 301, null);
  }

  public RuntimeOutput redirect(String url, int statusCode) {
    return redirect(url, statusCode, null);
  }

  public RuntimeOutput redirect(String url, int statusCode, Map<String, ?> headers) {
    Map<String, Object> all = new LinkedHashMap<>();
    if (headers != null) all.putAll(headers);
    all.put("location", url);
    return text("", statusCode, all);
  }

  /** 204, nothing else. */
  public RuntimeOutput empty() {
    return text("", 204, null);
  }

  public RuntimeOutput stream(StreamWriter writer) {
    return stream((Object) writer, 200, null);
  }

  public RuntimeOutput stream(StreamWriter writer, int statusCode) {
    return stream((Object) writer, statusCode, null);
  }

  public RuntimeOutput stream(StreamWriter writer, int statusCode, Map<String, ?> headers) {
    return stream((Object) writer, statusCode, headers);
  }

  public RuntimeOutput stream(Object source) {
    return stream(source, 200, null);
  }

  public RuntimeOutput stream(Object source, int statusCode) {
    return stream(source, statusCode, null);
  }

  /**
   * A body that is sent as it comes: of an InputStream, an Iterator, Iterable or java.util.stream.Stream of texts or byte arrays, or a {@link StreamWriter}. An
   * error of the source after the head breaks the connection.
   */
  public RuntimeOutput stream(Object source, int statusCode, Map<String, ?> headers) {
    last = new RuntimeOutput(null, source, statusCode, withType(headers, "text/plain"));
    return last;
  }

  /** For the server: what was made last, which is the response of functions of the older form `(req, res)`. */
  public RuntimeOutput last() {
    return last;
  }

  private RuntimeOutput made(byte[] body, int statusCode, Map<String, ?> headers) {
    last = new RuntimeOutput(body, null, statusCode, headers);
    return last;
  }

  private static Map<String, ?> withType(Map<String, ?> headers, String type) {
    if (headers == null || headers.isEmpty()) return Map.of("content-type", type);
    for (String name : headers.keySet()) {
      if (name.equalsIgnoreCase("content-type")) return headers;
    }
    Map<String, Object> all = new LinkedHashMap<>(headers);
    all.put("content-type", type);
    return all;
  }
}
