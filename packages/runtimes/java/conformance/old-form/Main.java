import io.openruntimes.java.RuntimeRequest;
import io.openruntimes.java.RuntimeResponse;
import java.util.LinkedHashMap;
import java.util.Map;

public class Main {
  public void main(RuntimeRequest req, RuntimeResponse res) throws Exception {
    if (req.getPayload().equals("text")) {
      res.send("text", 202);
      return;
    }
    Map<String, Object> answer = new LinkedHashMap<>();
    answer.put("payload", req.getPayload());
    answer.put("header", req.getHeaders().get("x-test"));
    answer.put("env", req.getEnv().get("CUSTOM_ENV_VAR"));
    res.json(answer, 201);
  }
}
