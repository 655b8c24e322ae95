import io.openruntimes.kotlin.RuntimeRequest
import io.openruntimes.kotlin.RuntimeResponse

class Main {
  @Suppress("DEPRECATION")
  fun main(req: RuntimeRequest, res: RuntimeResponse) {
    if (req.payload == "text") {
      res.send("text", 202)
      return
    }
    res.json(mapOf("payload" to req.payload, "header" to req.headers["x-test"], "env" to req.env["CUSTOM_ENV_VAR"]), 201)
  }
}
