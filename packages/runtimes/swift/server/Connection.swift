import Dispatch
import Foundation
import Glibc

/// What was read is no HTTP, or the caller is gone: the connection ends.
private struct Broken: Error {}

/// What became of user code, written once by its task or by the clock.
private final class Outcome: @unchecked Sendable {
  private let lock = NSLock()
  private var value: Result<(RuntimeOutput, [(String, String)]), Error>?

  func settle(_ result: Result<(RuntimeOutput, [(String, String)]), Error>) { lock.withLock { if value == nil { value = result } } }
  var result: Result<(RuntimeOutput, [(String, String)]), Error>? { lock.withLock { value } }
}

/// One connection, served by one thread.
final class Connection: @unchecked Sendable {
  private let descriptor: Int32
  private let settings: Settings
  private let journal: Journal
  private let function: UserFunction
  private var buffer: [UInt8] = []
  private var keepAlive = true
  private var isHead = false

  init(_ descriptor: Int32, _ settings: Settings, _ journal: Journal, _ function: @escaping UserFunction) {
    self.descriptor = descriptor
    self.settings = settings
    self.journal = journal
    self.function = function
  }

  func serve() {
    defer { close(descriptor) }
    do { while keepAlive { try answerOne() } } catch {}
  }

  private func fill() throws {
    var piece = [UInt8](repeating: 0, count: 64 * 1024)
    while true {
      let length = read(descriptor, &piece, piece.count)
      if length < 0 && errno == EINTR { continue }
      if length <= 0 { throw Broken() }
      buffer.append(contentsOf: piece[..<length])
      return
    }
  }

  private func readLine() throws -> String {
    var from = 0
    while true {
      if let end = buffer[from...].firstIndex(of: 10) {
        let line = buffer[..<end].last == 13 ? buffer[..<(end - 1)] : buffer[..<end]
        let text = String(decoding: line, as: UTF8.self)
        buffer.removeFirst(end + 1)
        return text
      }
      from = buffer.count
      if from > 256 * 1024 { throw Broken() }
      try fill()
    }
  }

  /// Reads that many bytes; keeps them as long as `body` has room.
  private func take(_ count: Int, _ body: inout Data?) throws {
    var left = count
    while left > 0 {
      if buffer.isEmpty { try fill() }
      let length = min(left, buffer.count)
      if let size = body?.count, size + length > maxBodyBytes { body = nil }
      body?.append(contentsOf: buffer[..<length])
      buffer.removeFirst(length)
      left -= length
    }
  }

  /// The body; nil when it is too large.
  private func readBody(_ headers: [String: String]) throws -> Data? {
    var body: Data? = Data()
    let isChunked = (headers["transfer-encoding"] ?? "").lowercased().contains("chunked")
    if (headers["expect"] ?? "").lowercased() == "100-continue" { try send(Array("HTTP/1.1 100 Continue\r\n\r\n".utf8)) }
    if isChunked {
      if headers["content-length"] != nil { throw Broken() }
      while true {
        let size = try readLine().prefix { $0.isHexDigit }
        guard size.count <= 8, let length = Int(size, radix: 16) else { throw Broken() }
        if length == 0 { break }
        try take(length, &body)
        guard try readLine().isEmpty else { throw Broken() }
      }
      while try !readLine().isEmpty {}
    } else if let text = headers["content-length"] {
      guard text.allSatisfy({ $0.isASCII && $0.isNumber }), let length = Int(text) else { throw Broken() }
      try take(length, &body)
    }
    return body
  }

  private func answerOne() throws {
    let words = try readLine().split(separator: " ").map(String.init)
    guard words.count == 3, words[2].hasPrefix("HTTP/1.") else {
      keepAlive = false
      return try say(400, "The request is malformed.")
    }
    var headers: [String: String] = [:]
    while true {
      let line = try readLine()
      if line.isEmpty { break }
      guard let colon = line.firstIndex(of: ":"), colon > line.startIndex else { throw Broken() }
      let name = line[..<colon].lowercased()
      let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
      headers[name] = headers[name].map { $0 + ", " + value } ?? value
    }
    let wish = (headers["connection"] ?? "").lowercased()
    keepAlive = words[2] == "HTTP/1.1" ? !wish.contains("close") : wish.contains("keep-alive")
    isHead = words[0] == "HEAD"
    let body = try readBody(headers)
    switch words[1] {
    case "/__opr/health": return try say(200, "OK")
    case "/__opr/timings":
      let timings = (try? String(contentsOfFile: "/mnt/telemetry/timings.txt", encoding: .utf8)) ?? ""
      return try say(200, timings + (timings.isEmpty || timings.hasSuffix("\n") ? "" : "\n") + "load=0.000\n")
    default: break
    }
    func control(_ name: String) -> String { headers["x-open-runtimes-" + name] ?? "" }
    if !settings.secret.isEmpty && !isEqual(control("secret"), settings.secret) {
      return try say(500, "Unauthorized. Provide correct \"x-open-runtimes-secret\" header.")
    }
    let digits = control("timeout")
    let seconds = digits.count <= 10 && digits.utf8.allSatisfy { (48...57).contains($0) } ? Int(digits) ?? 0 : 0
    if !digits.isEmpty && !(1...2_147_483).contains(seconds) {
      return try say(500, "Header \"x-open-runtimes-timeout\" must be an integer greater than 0.")
    }
    guard ["", "enabled", "disabled"].contains(control("logging")) else {
      return try say(500, "Header \"x-open-runtimes-logging\" must be either \"enabled\" or \"disabled\".")
    }
    guard let body else { return try say(413, "The request body is larger than 20 MiB.") }
    // Code that is compiled in has loaded.
    if words[1] == "/__opr/load" { return try say(200, "OK") }
    let silent = control("logging") == "disabled"
    let logger = RuntimeLogger(id: logId(control("log-id")), silent: silent, journal: journal)
    var request = RuntimeRequest()
    request.method = words[0]
    request.bodyBinary = body
    request.headers = headers.filter { !$0.key.hasPrefix("x-open-runtimes-") }.merging(settings.enforced) { $1 }
    request.setTarget(words[1])
    try execute(RuntimeContext(req: request, logger: logger), seconds)
  }

  private func execute(_ context: RuntimeContext, _ seconds: Int) throws {
    let logger = context.logger
    let idLine = ("x-open-runtimes-log-id", logger.silent ? "" : logger.id)
    let outcome = Outcome()
    let done = DispatchSemaphore(value: 0)
    let function = self.function
    journal.begin(logger)
    let task = Task.detached {
      do {
        let output = try await function(context)
        outcome.settle(.success((output, try output.finished())))
      } catch {
        outcome.settle(.failure(error))
      }
      done.signal()
    }
    if seconds > 0 && done.wait(timeout: .now() + .seconds(seconds)) == .timedOut {
      outcome.settle(.failure(RuntimeError("Execution timed out.")))
      task.cancel()
    } else if seconds == 0 {
      done.wait()
    }
    switch outcome.result {
    case .success((let output, let headers))?:
      if let source = output.source {
        defer { journal.end(logger) }
        return try stream(source, output.statusCode, headers + [idLine], logger)
      }
      journal.end(logger)
      try answer(output.statusCode, headers + [idLine], output.body)
    case .failure(let error)?:
      logger.error("\(error)")
      journal.end(logger)
      try answer(500, [("content-type", "text/plain; charset=utf-8"), idLine], Data())
    case nil: throw Broken()
    }
  }

  private func stream(_ source: AsyncThrowingStream<Data, Error>, _ statusCode: Int, _ headers: [(String, String)], _ logger: RuntimeLogger) throws {
    try sendHead(statusCode, headers + [("transfer-encoding", "chunked")])
    if isHead { return }
    let done = DispatchSemaphore(value: 0)
    let outcome = Outcome()
    Task.detached { [self] in
      do {
        for try await piece in source where !piece.isEmpty {
          try send(Array(String(piece.count, radix: 16).utf8) + [13, 10] + piece + [13, 10])
        }
        try send(Array("0\r\n\r\n".utf8))
      } catch {
        if !(error is Broken) { logger.error("\(error)") }
        outcome.settle(.failure(error))
      }
      done.signal()
    }
    done.wait()
    // Without an end, so that nobody takes the part for the whole.
    if outcome.result != nil { throw Broken() }
  }

  private func say(_ statusCode: Int, _ text: String) throws {
    try answer(statusCode, [("content-type", "text/plain; charset=utf-8")], Data(text.utf8))
  }

  private func answer(_ statusCode: Int, _ headers: [(String, String)], _ body: Data) throws {
    let hasBody = statusCode != 204 && statusCode != 304
    try sendHead(statusCode, hasBody ? headers + [("content-length", "\(body.count)")] : headers, hasBody && !isHead ? body : Data())
  }

  private func sendHead(_ statusCode: Int, _ headers: [(String, String)], _ body: Data = Data()) throws {
    // The reason may be empty; nobody reads it.
    var head = "HTTP/1.1 \(statusCode) \r\n"
    for (name, value) in headers { head += "\(name): \(value)\r\n" }
    head += keepAlive ? "\r\n" : "connection: close\r\n\r\n"
    try send(Array(head.utf8) + body)
  }

  private func send(_ bytes: [UInt8]) throws {
    var done = 0
    while done < bytes.count {
      let written = bytes[done...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
      if written < 0 && errno == EINTR { continue }
      if written < 0 { throw Broken() }
      done += written
    }
  }

  private func logId(_ asked: String) -> String {
    let isId = (1...64).contains(asked.utf8.count) && asked.utf8.allSatisfy { $0 < 128 && (Character(Unicode.Scalar($0)).isLetter || (48...57).contains($0) || $0 == 95 || $0 == 45) }
    if isId { return asked }
    if settings.development { return "dev" }
    let alphabet = Array("0123456789abcdefghijklmnopqrstuvwxyz")
    return String((0..<20).map { _ in alphabet[Int.random(in: 0..<alphabet.count)] })
  }

  /// Equal, in a time that does not tell where they differ.
  private func isEqual(_ given: String, _ secret: String) -> Bool {
    let (a, b) = (Array(given.utf8), Array(secret.utf8))
    var difference = a.count ^ b.count
    for (index, byte) in a.enumerated() { difference |= Int(byte ^ b[index % b.count]) }
    return difference == 0
  }
}
