import io.openruntimes.kotlin.RuntimeContext
import io.openruntimes.kotlin.RuntimeOutput
import java.io.File
import java.io.OutputStream
import kotlin.coroutines.resume
import kotlin.coroutines.suspendCoroutine
import kotlin.concurrent.thread

class Main {
  suspend fun main(context: RuntimeContext): RuntimeOutput? {
    val req = context.req
    val res = context.res
    val headers = req.headers
    return when (headers["x-action"]) {
      "plainText" -> res.text("Hello World 👋")
      "json" -> res.json(mapOf("json" to true, "message" to "Developers are awesome."))
      "charset" -> res.text("ok", 200, mapOf("content-type" to "text/plain; charset=iso-8859-1"))
      "upperCaseType" -> res.text("ok", 200, mapOf("content-type" to "TEXT/HTML"))
      "multipart" -> res.text("--x--", 200, mapOf("content-type" to "multipart/form-data; boundary=12345"))
      "redirect" -> res.redirect("https://example.com/there")
      "empty" -> res.empty()
      "binary" -> res.binary(byteArrayOf(0, 10, 255.toByte()))
      "noResponse" -> null
      "double" -> {
        res.text("This should be ignored.")
        res.text("This should be returned.")
      }
      "headers" ->
        res.text(
          "OK",
          200,
          mapOf(
            "first-header" to "first-value",
            "second-header" to (headers["x-open-runtimes-custom-in-header"] ?: "missing"),
            "third-header" to (headers["cookie"] ?: "missing"),
            "x-open-runtimes-custom-out-header" to "third-value",
          ),
        )
      "setCookie" -> res.text("OK", 200, mapOf("set-cookie" to listOf("a=1; Path=/", "b=2; HttpOnly")))
      "status" -> res.text("status", headers.getValue("x-status").toInt())
      "method" -> res.text(req.method)
      "url" ->
        res.json(
          mapOf(
            "url" to req.url,
            "port" to req.port,
            "path" to req.path,
            "query" to req.query,
            "queryString" to req.queryString,
            "scheme" to req.scheme,
            "host" to req.host,
          ),
        )
      "requestHeaders" -> res.json(headers)
      "bodyText" -> res.text(req.bodyText)
      "bodyJson" -> res.json(req.bodyJson)
      "body" -> res.json(mapOf("kind" to if (req.body is String) "text" else "object", "body" to req.body))
      "bodyBinary" -> res.binary(req.bodyBinary)
      "environment" ->
        res.json(
          mapOf(
            "given" to System.getenv("CUSTOM_ENV_VAR"),
            "missing" to System.getenv("NOT_DEFINED_VAR"),
            "secret" to System.getenv("OPEN_RUNTIMES_SECRET"),
          ),
        )
      "log" -> {
        context.log("Debug Log")
        context.error("Error Log")
        context.log("A", 42, true)
        context.log(mapOf("object" to true))
        println("Native Log")
        res.text("")
      }
      "longLog" -> {
        context.log("a".repeat(9000))
        res.text("")
      }
      "structuredLog" -> {
        context.logger.warn("structured", mapOf("key" to "value"))
        res.text("")
      }
      "exception" -> {
        context.log("before")
        throw IllegalStateException("Custom error message")
      }
      "sleep" -> {
        pause(headers.getValue("x-ms").toLong())
        res.text("slept")
      }
      "concurrentLog" -> {
        val id = headers.getValue("x-id")
        repeat(3) {
          context.log(id)
          Thread.sleep(10)
          println("native $id")
          Thread.sleep(10)
        }
        res.text(id)
      }
      "stream" -> res.stream({ out -> writeSlowly(out) }, 201, mapOf("x-streamed" to "yes"))
      "streamLarge" -> res.stream({ out -> writeLarge(out, headers.getValue("x-size").toLong()) })
      "streamError" ->
        res.stream(
          sequence {
            yield("one\n")
            throw IllegalStateException("The source failed.")
          }.iterator(),
        )
      "echoStream" -> res.stream(req.bodyStream)
      "large" -> res.binary(ByteArray(headers.getValue("x-size").toInt()) { 'a'.code.toByte() })
      "file" -> res.text(File(System.getenv("TREADLE_CODE"), "data.txt").readText())
      else -> res.text("Unknown action", 404)
    }
  }

  /** Really suspends: is resumed by another thread. */
  private suspend fun pause(milliseconds: Long) = suspendCoroutine<Unit> { continuation ->
    thread(isDaemon = true) {
      Thread.sleep(milliseconds)
      continuation.resume(Unit)
    }
  }

  private fun writeSlowly(out: OutputStream) {
    for (piece in listOf("one\n", "two\n", "three\n")) {
      out.write(piece.toByteArray())
      Thread.sleep(200)
    }
  }

  private fun writeLarge(out: OutputStream, size: Long) {
    val piece = ByteArray(64 * 1024) { 'a'.code.toByte() }
    var left = size
    while (left > 0) {
      out.write(piece, 0, minOf(left, piece.size.toLong()).toInt())
      left -= piece.size
    }
  }
}
