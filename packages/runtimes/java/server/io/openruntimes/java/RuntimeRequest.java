package io.openruntimes.java;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import treadle.Json;

/** A request. The body is read when it is first asked for. */
public final class RuntimeRequest {
  /** Where the body comes from. */
  public interface Body {
    /** Waits for all of it. */
    byte[] whole() throws IOException;

    /** Piece by piece. @throws IllegalStateException when it was asked for as a whole before */
    InputStream stream();
  }

  private final String method;
  private final Map<String, String> headers;
  private final Body body;
  private final String scheme;
  private final String host;
  private final int port;
  private final String path;
  private final String queryString;
  private final String url;
  private Map<String, String> query;
  private byte[] bytes;

  /** For the server, and for tests of functions. `target`: path and query, or a whole address. `headers`: lower-case names. */
  public RuntimeRequest(String method, String target, Map<String, String> headers, Body body) {
    this.method = method;
    this.headers = headers;
    this.body = body;
    String theScheme = headers.getOrDefault("x-forwarded-proto", "http");
    String authority = headers.getOrDefault("host", "localhost");
    String rest = target;
    int mark = target.indexOf("://");
    int slash = target.indexOf('/');
    if (mark > 0 && slash == mark + 1) {
      theScheme = target.substring(0, mark).toLowerCase();
      int end = mark + 3;
      while (end < target.length() && "/?#".indexOf(target.charAt(end)) < 0) end++;
      authority = target.substring(mark + 3, end);
      rest = target.substring(end);
    }
    int fragment = rest.indexOf('#');
    if (fragment >= 0) rest = rest.substring(0, fragment);
    int question = rest.indexOf('?');
    String thePath = question < 0 ? rest : rest.substring(0, question);
    path = thePath.isEmpty() ? "/" : thePath;
    queryString = question < 0 ? "" : rest.substring(question + 1);
    int colon = authority.lastIndexOf(':');
    boolean hasPort = colon > authority.lastIndexOf(']');
    host = hasPort ? authority.substring(0, colon) : authority;
    int usual = theScheme.equals("https") ? 443 : 80;
    int given = hasPort ? portOf(authority.substring(colon + 1)) : 0;
    port = given == 0 ? usual : given;
    scheme = theScheme;
    url = scheme + "://" + host + (port == usual ? "" : ":" + port) + path + (queryString.isEmpty() ? "" : "?" + queryString);
  }

  private static int portOf(String text) {
    try {
      int port = Integer.parseInt(text);
      return port > 0 && port < 65536 ? port : 0;
    } catch (NumberFormatException e) {
      return 0;
    }
  }

  public String getMethod() {
    return method;
  }

  public String getUrl() {
    return url;
  }

  public String getScheme() {
    return scheme;
  }

  public String getHost() {
    return host;
  }

  public int getPort() {
    return port;
  }

  public String getPath() {
    return path;
  }

  public String getQueryString() {
    return queryString;
  }

  /** Undecoded: `a=b&c==d&k` is `{a: "b", c: "=d", k: ""}`. */
  public Map<String, String> getQuery() {
    if (query == null) {
      query = new LinkedHashMap<>();
      for (String part : queryString.split("&")) {
        int equals = part.indexOf('=');
        String key = equals < 0 ? part : part.substring(0, equals);
        if (!key.isEmpty()) query.put(key, equals < 0 ? "" : part.substring(equals + 1));
      }
    }
    return query;
  }

  /** Names in lower case. */
  public Map<String, String> getHeaders() {
    return headers;
  }

  public byte[] getBodyBinary() throws IOException {
    if (bytes == null) bytes = body.whole();
    return bytes;
  }

  public String getBodyText() throws IOException {
    return new String(getBodyBinary(), StandardCharsets.UTF_8);
  }

  /** Maps, lists, texts, Long or Double, Boolean, null. @throws IllegalArgumentException when the body is no JSON */
  public Object getBodyJson() throws IOException {
    try {
      return Json.read(getBodyText());
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException("The request body is not valid JSON: " + e.getMessage());
    }
  }

  /** As JSON when the content type says so, `{}` when that is empty; else as text. */
  public Object getBody() throws IOException {
    if (!headers.getOrDefault("content-type", "").toLowerCase().startsWith("application/json")) return getBodyText();
    return getBodyBinary().length == 0 ? new LinkedHashMap<String, Object>() : getBodyJson();
  }

  /** The body as it comes, for functions that ask for it before they ask for anything else of the body. */
  public InputStream getBodyStream() {
    if (bytes != null) throw new IllegalStateException("The body was read already.");
    return body.stream();
  }

  /** The body's text, in the older form `(req, res)`. */
  public String getPayload() throws IOException {
    return getBodyText();
  }

  /** The environment, in the older form. */
  public Map<String, String> getEnv() {
    return System.getenv();
  }
}
