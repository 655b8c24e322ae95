import Foundation

/// One execution.
public final class RuntimeContext: @unchecked Sendable {
  public let req: RuntimeRequest
  public let res = RuntimeResponse()
  public let logger: RuntimeLogger

  init(req: RuntimeRequest, logger: RuntimeLogger) {
    self.req = req
    self.logger = logger
  }

  public func log(_ messages: Any...) { logger.write("info", joined(messages), [:]) }
  public func error(_ messages: Any...) { logger.write("error", joined(messages), [:]) }

  private func joined(_ messages: [Any]) -> String {
    messages.map { $0 is [String: Any] || $0 is [Any] ? String(decoding: compactJson($0), as: UTF8.self) : "\($0)" }.joined(separator: " ")
  }
}

/// Writes lines with a level and fields. What comes after the end belongs to no execution.
public final class RuntimeLogger: @unchecked Sendable {
  let id: String
  let silent: Bool
  let journal: Journal
  var ended = false

  init(id: String, silent: Bool, journal: Journal) {
    self.id = id
    self.silent = silent
    self.journal = journal
  }

  public func debug(_ message: String, _ fields: [String: Any] = [:]) { write("debug", message, fields) }
  public func info(_ message: String, _ fields: [String: Any] = [:]) { write("info", message, fields) }
  public func warn(_ message: String, _ fields: [String: Any] = [:]) { write("warn", message, fields) }
  public func error(_ message: String, _ fields: [String: Any] = [:]) { write("error", message, fields) }

  func write(_ level: String, _ text: String, _ fields: [String: Any]) {
    if silent { return }
    journal.settle()
    journal.write(ended ? nil : id, level, text, fields)
  }
}

public struct RuntimeError: Error, CustomStringConvertible {
  public let description: String
  public init(_ description: String) { self.description = description }
}

/// What the function is asked: `req` of Open Runtimes v5. The body is whole before the function is called.
public struct RuntimeRequest: @unchecked Sendable {
  public var method = "", url = "", scheme = "", host = "", path = "", queryString = ""
  public var port = 80
  /// Undecoded: `a=b&c==d&k` is [a: "b", c: "=d", k: ""].
  public var query: [String: String] = [:]
  /// Names in lower case; several of one name are joined with ", ".
  public var headers: [String: String] = [:]
  public var bodyBinary = Data()

  public var bodyText: String { String(decoding: bodyBinary, as: UTF8.self) }
  public var bodyRaw: String { bodyText }
  public var bodyStream: AsyncStream<Data> {
    let body = bodyBinary
    return AsyncStream { stream in
      if !body.isEmpty { stream.yield(body) }
      stream.finish()
    }
  }

  /// The body, whatever its content type says.
  public func bodyJson() throws -> Any {
    do {
      return try JSONSerialization.jsonObject(with: bodyBinary, options: [.fragmentsAllowed])
    } catch {
      throw RuntimeError("The request body is not valid JSON: \(error)")
    }
  }

  /// What JSON holds when the content type is application/json (an empty dictionary for an empty body), else text.
  public func body() throws -> Any {
    guard (headers["content-type"] ?? "").lowercased().hasPrefix("application/json") else { return bodyText }
    return bodyBinary.isEmpty ? [String: Any]() : try bodyJson()
  }

  /// Takes a target apart: a path with a query, or a whole address.
  mutating func setTarget(_ target: String) {
    scheme = headers["x-forwarded-proto"] ?? "http"
    var authority = headers["host"] ?? "localhost"
    var rest = target[...]
    if let mark = rest.range(of: "://"), !rest[..<mark.lowerBound].contains(where: { "/?#".contains($0) }) {
      scheme = rest[..<mark.lowerBound].lowercased()
      rest = rest[mark.upperBound...]
      let end = rest.firstIndex { "/?#".contains($0) } ?? rest.endIndex
      authority = String(rest[..<end])
      rest = rest[end...]
    }
    rest = rest[..<(rest.firstIndex(of: "#") ?? rest.endIndex)]
    let question = rest.firstIndex(of: "?")
    path = String(rest[..<(question ?? rest.endIndex)])
    if path.isEmpty { path = "/" }
    if let question { queryString = String(rest[rest.index(after: question)...]) }
    let usual = scheme == "https" ? 443 : 80
    host = authority
    port = usual
    if let colon = authority.lastIndex(of: ":"), !authority[colon...].contains("]") {
      host = String(authority[..<colon])
      port = Int(authority[authority.index(after: colon)...]) ?? usual
    }
    url = "\(scheme)://\(host)\(port == usual ? "" : ":\(port)")\(path)\(queryString.isEmpty ? "" : "?" + queryString)"
    for part in queryString.split(separator: "&") {
      let equals = part.firstIndex(of: "=") ?? part.endIndex
      let key = String(part[..<equals])
      if !key.isEmpty { query[key] = equals == part.endIndex ? "" : String(part[part.index(after: equals)...]) }
    }
  }
}

/// What a function returns, made by one of the methods of context.res.
public struct RuntimeOutput: @unchecked Sendable {
  var body = Data()
  var statusCode = 200
  var headers: [(String, String)] = []
  var source: AsyncThrowingStream<Data, Error>?

  /// Adds a header; the same name may be given several times (Set-Cookie).
  public func header(_ name: String, _ value: String) -> RuntimeOutput {
    var changed = self
    changed.headers.append((name, value))
    return changed
  }

  /// Header lines to send. Throws what is wrong with them.
  func finished() throws -> [(String, String)] {
    guard (200...599).contains(statusCode) else {
      throw RuntimeError("The status code must be a whole number from 200 to 599, got \(statusCode).")
    }
    let ofConnection: Set<String> = ["connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"]
    var lines: [(String, String)] = []
    var contentType = "text/plain"
    for (given, value) in headers {
      let name = given.lowercased()
      if name.hasPrefix("x-open-runtimes-") || ofConnection.contains(name) { continue }
      guard !name.isEmpty, name.utf8.allSatisfy({ $0 > 32 && $0 < 127 && $0 != 58 }), !value.utf8.contains(where: { ($0 < 32 && $0 != 9) || $0 == 127 }) else {
        throw RuntimeError("The header \"\(given)\" has characters that headers cannot have.")
      }
      if name == "content-type" { contentType = value } else { lines.append((name, value)) }
    }
    let lower = contentType.lowercased()
    let complete = lower.hasPrefix("multipart/") ? contentType : lower.contains("charset=") ? lower : lower + "; charset=utf-8"
    return lines + [("content-type", complete)]
  }
}

/// Makes responses. The returned one is sent.
public struct RuntimeResponse: Sendable {
  public func text(_ body: String, _ statusCode: Int = 200, _ headers: [String: String] = [:]) -> RuntimeOutput {
    output(Data(body.utf8), statusCode, headers, nil)
  }
  public func binary(_ bytes: Data, _ statusCode: Int = 200, _ headers: [String: String] = [:]) -> RuntimeOutput {
    output(bytes, statusCode, headers, "application/octet-stream")
  }
  public func json(_ value: Any, _ statusCode: Int = 200, _ headers: [String: String] = [:]) throws -> RuntimeOutput {
    output(compactJson(value), statusCode, headers, "application/json")
  }
  public func redirect(_ url: String, _ statusCode: Int = 301, _ headers: [String: String] = [:]) -> RuntimeOutput {
    output(Data(), statusCode, headers, nil).header("location", url)
  }
  public func empty() -> RuntimeOutput { output(Data(), 204, [:], nil) }
  public func send(_ body: String, _ statusCode: Int = 200, _ headers: [String: String] = [:]) -> RuntimeOutput { text(body, statusCode, headers) }

  /// Sends the head at once, then each piece as it comes. An error of the source breaks the connection.
  public func stream<Pieces: AsyncSequence>(_ pieces: Pieces, _ statusCode: Int = 200, _ headers: [String: String] = [:]) -> RuntimeOutput
  where Pieces.Element == Data {
    var made = output(Data(), statusCode, headers, nil)
    nonisolated(unsafe) var iterator = pieces.makeAsyncIterator()
    made.source = AsyncThrowingStream { try await iterator.next() }
    return made
  }

  private func output(_ body: Data, _ statusCode: Int, _ headers: [String: String], _ type: String?) -> RuntimeOutput {
    var lines = headers.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    if let type, !lines.contains(where: { $0.0.lowercased() == "content-type" }) { lines.append(("content-type", type)) }
    return RuntimeOutput(body: body, statusCode: statusCode, headers: lines)
  }
}

func compactJson(_ value: Any) -> Data {
  let isValid = JSONSerialization.isValidJSONObject([value])
  let options: JSONSerialization.WritingOptions = [.fragmentsAllowed, .sortedKeys, .withoutEscapingSlashes]
  return isValid ? ((try? JSONSerialization.data(withJSONObject: value, options: options)) ?? Data("null".utf8)) : compactJson("\(value)")
}
