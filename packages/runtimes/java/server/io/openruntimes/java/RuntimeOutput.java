package io.openruntimes.java;

import java.util.Map;

/** A response, made by {@link RuntimeResponse}. */
public final class RuntimeOutput {
  private final byte[] body;
  private final Object source;
  private final int statusCode;
  private final Map<String, ?> headers;

  RuntimeOutput(byte[] body, Object source, int statusCode, Map<String, ?> headers) {
    this.body = body;
    this.source = source;
    this.statusCode = statusCode;
    this.headers = headers == null ? Map.of() : headers;
  }

  /** Null for a stream. */
  public byte[] getBody() {
    return body;
  }

  /** What a stream comes from: an InputStream, an Iterator, an Iterable, a java.util.stream.Stream or a StreamWriter; else null. */
  public Object getSource() {
    return source;
  }

  public int getStatusCode() {
    return statusCode;
  }

  /** A value may be a list: one header for each element. */
  public Map<String, ?> getHeaders() {
    return headers;
  }
}
