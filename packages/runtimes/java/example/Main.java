import io.openruntimes.java.RuntimeContext;
import io.openruntimes.java.RuntimeOutput;
import java.util.Map;

public class Main {
  public RuntimeOutput main(RuntimeContext context) throws Exception {
    String name = context.getReq().getQuery().getOrDefault("name", "World");
    context.log("Greeting", name);
    return context.getRes().json(Map.of("language", "java", "message", "Hello, " + name + "!"));
  }
}
