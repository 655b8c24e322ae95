import io.openruntimes.kotlin.RuntimeContext
import io.openruntimes.kotlin.RuntimeOutput

class Main {
  fun main(context: RuntimeContext): RuntimeOutput {
    val name = context.req.query["name"] ?: "World"
    context.log("Greeting", name)
    return context.res.json(mapOf("language" to "kotlin", "message" to "Hello, $name!"))
  }
}
