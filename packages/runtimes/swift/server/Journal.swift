import Foundation
import Glibc

/// Writes log entries as lines of JSON to the real stdout, or as text to files in a folder; and takes what is printed, whose lines become entries of the one
/// execution in flight, or of none when there are several.
final class Journal: @unchecked Sendable {
  private let lock = NSLock()
  private let output = NSLock()
  private let real: Int32
  private let printed: Int32
  private let folder: String?
  private var line: [UInt8] = []
  private var active: [RuntimeLogger] = []

  /// File descriptor 1 becomes a pipe.
  init(folder: String?) {
    self.folder = folder
    real = dup(1)
    var ends: [Int32] = [0, 0]
    guard real >= 0, pipe(&ends) == 0, dup2(ends[1], 1) == 1 else { fatalError("The server could not start: stdout cannot be taken.") }
    close(ends[1])
    for descriptor in [real, ends[0]] { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
    _ = fcntl(ends[0], F_SETFL, fcntl(ends[0], F_GETFL) | O_NONBLOCK)
    printed = ends[0]
    setvbuf(stdout, nil, _IOLBF, 4096)
    Thread.detachNewThread { [self] in
      while true {
        var ready = pollfd(fd: printed, events: Int16(POLLIN), revents: 0)
        poll(&ready, 1, -1)
        settle()
      }
    }
  }

  func say(_ text: String) { put(Array((text + "\n").utf8)) }

  /// Takes what was printed before now.
  func settle() { lock.withLock { drain() } }

  func begin(_ logger: RuntimeLogger) {
    lock.withLock {
      if active.count == 1 { drain() }
      active.append(logger)
    }
  }

  func end(_ logger: RuntimeLogger) {
    fflush(stdout)
    lock.withLock {
      drain()
      if active.count == 1, !line.isEmpty { emit() }
      active.removeAll { $0 === logger }
      logger.ended = true
    }
  }

  func write(_ id: String?, _ level: String, _ text: String, _ fields: [String: Any] = [:]) {
    let kept = text.count > 8000 ? text.prefix(8000) + "... Log truncated due to size limit (8000 characters)" : text[...]
    if let folder, let id {
      let path = "\(folder)/\(id)_\(level == "error" ? "errors" : "logs").log"
      let file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
      if file < 0 { return }
      let more = fields.isEmpty ? "" : " " + String(decoding: compactJson(fields), as: UTF8.self)
      let bytes = Array("\(kept)\(more)\n".utf8)
      _ = Glibc.write(file, bytes, bytes.count)
      close(file)
      return
    }
    var entry: [String: Any] = ["id": id ?? NSNull(), "level": level, "text": String(kept)]
    if !fields.isEmpty { entry["fields"] = fields }
    put(Array(compactJson(entry)) + [10])
  }

  private func put(_ bytes: [UInt8]) {
    output.withLock {
      var done = 0
      while done < bytes.count {
        let written = bytes[done...].withUnsafeBytes { Glibc.write(real, $0.baseAddress, $0.count) }
        if written < 0 && errno != EINTR { return }
        done += max(0, written)
      }
    }
  }

  private func drain() {
    var buffer = [UInt8](repeating: 0, count: 16 * 1024)
    while true {
      let length = read(printed, &buffer, buffer.count)
      if length <= 0 { return }
      for byte in buffer[..<length] {
        if byte == 10 { emit() } else if line.count < 32_008 { line.append(byte) }
      }
    }
  }

  private func emit() {
    let text = String(decoding: line, as: UTF8.self)
    line.removeAll()
    if active.count != 1 { write(nil, "info", text) } else if !active[0].silent { write(active[0].id, "info", text) }
  }
}
