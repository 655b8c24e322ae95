import io.openruntimes.java.RuntimeContext;
import io.openruntimes.java.RuntimeOutput;
import io.openruntimes.java.RuntimeRequest;
import io.openruntimes.java.RuntimeResponse;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

public class Main {
  public RuntimeOutput main(RuntimeContext context) throws Exception {
    RuntimeRequest req = context.getReq();
    RuntimeResponse res = context.getRes();
    Map<String, String> headers = req.getHeaders();
    switch (headers.getOrDefault("x-action", "")) {
      case "plainText":
        return res.text("Hello World 👋");
      case "json":
        return res.json(map("json", true, "message", "Developers are awesome."));
      case "charset":
        return res.text("ok", 200, Map.of("content-type", "text/plain; charset=iso-8859-1"));
      case "upperCaseType":
        return res.text("ok", 200, Map.of("content-type", "TEXT/HTML"));
      case "multipart":
        return res.text("--x--", 200, Map.of("content-type", "multipart/form-data; boundary=12345"));
      case "redirect":
        return res.redirect("https://example.com/there");
      case "empty":
        return res.empty();
      case "binary":
        return res.binary(new byte[] {0, 10, (byte) 255});
      case "noResponse":
        return null;
      case "double":
        res.text("This should be ignored.");
        return res.text("This should be returned.");
      case "headers":
        return res.text("OK", 200, Map.of(
            "first-header", "first-value",
            "second-header", headers.getOrDefault("x-open-runtimes-custom-in-header", "missing"),
            "third-header", headers.getOrDefault("cookie", "missing"),
            "x-open-runtimes-custom-out-header", "third-value"));
      case "setCookie":
        return res.text("OK", 200, Map.of("set-cookie", List.of("a=1; Path=/", "b=2; HttpOnly")));
      case "status":
        return res.text("status", Integer.parseInt(headers.get("x-status")));
      case "method":
        return res.text(req.getMethod());
      case "url":
        return res.json(map("url", req.getUrl(), "port", req.getPort(), "path", req.getPath(), "query", req.getQuery(),
            "queryString", req.getQueryString(), "scheme", req.getScheme(), "host", req.getHost()));
      case "requestHeaders":
        return res.json(headers);
      case "bodyText":
        return res.text(req.getBodyText());
      case "bodyJson":
        return res.json(req.getBodyJson());
      case "body":
        Object body = req.getBody();
        return res.json(map("kind", body instanceof String ? "text" : "object", "body", body));
      case "bodyBinary":
        return res.binary(req.getBodyBinary());
      case "environment":
        return res.json(map("given", System.getenv("CUSTOM_ENV_VAR"), "missing", System.getenv("NOT_DEFINED_VAR"),
            "secret", System.getenv("OPEN_RUNTIMES_SECRET")));
      case "log":
        context.log("Debug Log");
        context.error("Error Log");
        context.log("A", 42, true);
        context.log(Map.of("object", true));
        System.out.println("Native Log");
        return res.text("");
      case "longLog":
        context.log("a".repeat(9000));
        return res.text("");
      case "structuredLog":
        context.getLogger().warn("structured", Map.of("key", "value"));
        return res.text("");
      case "exception":
        context.log("before");
        throw new IllegalStateException("Custom error message");
      case "sleep":
        Thread.sleep(Long.parseLong(headers.get("x-ms")));
        return res.text("slept");
      case "concurrentLog":
        String id = headers.get("x-id");
        for (int i = 0; i < 3; i++) {
          context.log(id);
          Thread.sleep(10);
          System.out.println("native " + id);
          Thread.sleep(10);
        }
        return res.text(id);
      case "stream":
        return res.stream(out -> {
          for (String piece : List.of("one\n", "two\n", "three\n")) {
            out.write(piece.getBytes());
            Thread.sleep(200);
          }
        }, 201, Map.of("x-streamed", "yes"));
      case "streamLarge":
        long size = Long.parseLong(headers.get("x-size"));
        return res.stream(out -> writeLarge(out, size));
      case "streamError":
        return res.stream(out -> {
          out.write("one\n".getBytes());
          throw new IllegalStateException("The source failed.");
        });
      case "echoStream":
        return res.stream(req.getBodyStream());
      case "large":
        byte[] large = new byte[Integer.parseInt(headers.get("x-size"))];
        Arrays.fill(large, (byte) 'a');
        return res.binary(large);
      case "file":
        return res.text(Files.readString(Path.of(System.getenv("TREADLE_CODE"), "data.txt")));
      default:
        return res.text("Unknown action", 404);
    }
  }

  private static void writeLarge(OutputStream out, long size) throws Exception {
    byte[] piece = new byte[64 * 1024];
    Arrays.fill(piece, (byte) 'a');
    for (long left = size; left > 0; left -= piece.length) out.write(piece, 0, (int) Math.min(left, piece.length));
  }

  private static Map<String, Object> map(Object... pairs) {
    Map<String, Object> map = new LinkedHashMap<>();
    for (int i = 0; i < pairs.length; i += 2) map.put((String) pairs[i], pairs[i + 1]);
    return map;
  }
}
