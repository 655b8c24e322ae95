// Does what the header x-action asks for (test/conformance/ACTIONS.md).
import Foundation

func main(context: RuntimeContext) async throws -> RuntimeOutput {
  let req = context.req
  let res = context.res
  func number(_ name: String) throws -> Int {
    guard let value = Int(req.headers[name] ?? "") else { throw RuntimeError("The header \(name) is no number.") }
    return value
  }
  func wait(_ milliseconds: Int) async throws { try await Task.sleep(nanoseconds: UInt64(milliseconds) * 1_000_000) }
  func variable(_ name: String) -> Any { getenv(name).map { String(cString: $0) } ?? NSNull() }
  switch req.headers["x-action"] {
  case "plainText": return res.text("Hello World 👋")
  case "json": return try res.json(["json": true, "message": "Developers are awesome."] as [String: Any])
  case "charset": return res.text("ok", 200, ["content-type": "text/plain; charset=iso-8859-1"])
  case "upperCaseType": return res.text("ok", 200, ["content-type": "TEXT/HTML"])
  case "multipart": return res.text("--x--", 200, ["content-type": "multipart/form-data; boundary=12345"])
  case "redirect": return res.redirect("https://example.com/there")
  case "empty": return res.empty()
  case "binary": return res.binary(Data([0, 10, 255]))
  case "double":
    _ = res.text("This should be ignored.")
    return res.text("This should be returned.")
  case "headers":
    return res.text("OK", 200, [
      "first-header": "first-value",
      "second-header": req.headers["x-open-runtimes-custom-in-header"] ?? "missing",
      "third-header": req.headers["cookie"] ?? "missing",
      "x-open-runtimes-custom-out-header": "third-value",
    ])
  case "setCookie": return res.text("OK").header("set-cookie", "a=1; Path=/").header("set-cookie", "b=2; HttpOnly")
  case "status": return res.text("status", try number("x-status"))
  case "method": return res.text(req.method)
  case "url":
    return try res.json([
      "url": req.url, "port": req.port, "path": req.path, "query": req.query,
      "queryString": req.queryString, "scheme": req.scheme, "host": req.host,
    ] as [String: Any])
  case "requestHeaders": return try res.json(req.headers)
  case "bodyText": return res.text(req.bodyText)
  case "bodyJson": return try res.json(try req.bodyJson())
  case "body":
    let body = try req.body()
    return try res.json(["kind": body is String ? "text" : "object", "body": body] as [String: Any])
  case "bodyBinary": return res.binary(req.bodyBinary)
  case "environment":
    return try res.json(["given": variable("CUSTOM_ENV_VAR"), "missing": variable("NOT_DEFINED_VAR"), "secret": variable("OPEN_RUNTIMES_SECRET")])
  case "log":
    context.log("Debug Log")
    context.error("Error Log")
    context.log("A", 42, true)
    context.log(["object": true])
    print("Native Log")
    return res.text("")
  case "longLog":
    context.log(String(repeating: "a", count: 9000))
    return res.text("")
  case "structuredLog":
    context.logger.warn("structured", ["key": "value"])
    return res.text("")
  case "exception":
    context.log("before")
    throw RuntimeError("Custom error message")
  case "sleep":
    try await wait(try number("x-ms"))
    return res.text("slept")
  case "concurrentLog":
    let id = req.headers["x-id"] ?? ""
    for round in 0..<3 {
      context.log(id)
      if round == 1 { print("native \(id)") }
      try await wait(20)
    }
    return res.text(id)
  case "stream":
    let pieces = AsyncThrowingStream<Data, Error> { stream in
      Task {
        for (index, text) in ["one\n", "two\n", "three\n"].enumerated() {
          if index > 0 { try await Task.sleep(nanoseconds: 200_000_000) }
          stream.yield(Data(text.utf8))
        }
        stream.finish()
      }
    }
    return res.stream(pieces, 201, ["x-streamed": "yes"])
  case "streamLarge":
    nonisolated(unsafe) var left = try number("x-size")
    return res.stream(AsyncStream<Data> {
      if left <= 0 { return nil }
      let length = min(left, 64 * 1024)
      left -= length
      return Data(repeating: 97, count: length)
    })
  case "streamError":
    return res.stream(AsyncThrowingStream<Data, Error> { stream in
      stream.yield(Data("one\n".utf8))
      stream.finish(throwing: RuntimeError("the source failed"))
    })
  case "echoStream": return res.stream(req.bodyStream)
  case "large": return res.binary(Data(repeating: 97, count: try number("x-size")))
  case "file": return res.text(try String(contentsOfFile: "data.txt", encoding: .utf8))
  default: return res.text("Unknown action", 404)
  }
}
