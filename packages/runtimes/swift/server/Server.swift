import Dispatch
import Foundation
import Glibc

let maxBodyBytes = 20 * 1024 * 1024

typealias UserFunction = @Sendable (RuntimeContext) async throws -> RuntimeOutput

/// Settings of the process (HTTP.md), read once and before user code.
struct Settings: Sendable {
  let socket, secret: String
  let port: UInt16
  let development: Bool
  let logFolder: String?
  let enforced: [String: String]

  init() {
    func text(_ name: String) -> String { getenv(name).map { String(cString: $0) } ?? "" }
    socket = text("TREADLE_SOCKET")
    port = UInt16(text("PORT")) ?? 3000
    secret = text("OPEN_RUNTIMES_SECRET")
    // The secret is the caller's, not user code's.
    unsetenv("OPEN_RUNTIMES_SECRET")
    development = text("OPEN_RUNTIMES_ENV") == "development"
    func isFolder(_ path: String) -> Bool {
      var status = stat()
      return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }
    let logs = text("TREADLE_LOGS").isEmpty ? "/mnt/logs" : text("TREADLE_LOGS")
    logFolder = isFolder(logs) ? logs : nil
    let given = try? JSONSerialization.jsonObject(with: Data(text("OPEN_RUNTIMES_HEADERS").utf8)) as? [String: Any]
    enforced = Dictionary((given ?? [:]).map { ($0.key.lowercased(), "\($0.value)") }) { first, _ in first }
    let code = text("TREADLE_CODE").isEmpty ? "/usr/local/server/src/function" : text("TREADLE_CODE")
    if isFolder(code) { chdir(code) }
  }
}

/// Listens, and gives each connection a thread.
func serve(_ function: @escaping UserFunction) -> Never {
  signal(SIGPIPE, SIG_IGN)
  for number in [SIGTERM, SIGINT] { signal(number) { _ in _exit(0) } }
  let settings = Settings()
  let journal = Journal(folder: settings.logFolder)
  let listener = settings.socket.isEmpty ? listenTcp(settings.port) : listenUnix(settings.socket)
  guard listener >= 0 else {
    fputs("The server could not start: \(String(cString: strerror(errno)))\n", stderr)
    exit(1)
  }
  journal.say("HTTP server successfully started!")
  while true {
    let descriptor = accept(listener, nil, nil)
    if descriptor < 0 {
      usleep(10_000)
      continue
    }
    var on: Int32 = 1
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    let connection = Connection(descriptor, settings, journal, function)
    let thread = Thread { connection.serve() }
    thread.stackSize = 512 * 1024
    thread.start()
  }
}

private func listenTcp(_ port: UInt16) -> Int32 {
  let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
  var on: Int32 = 1
  setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = port.bigEndian
  let bound = withUnsafePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
  }
  return bound == 0 && listen(descriptor, 512) == 0 ? descriptor : -1
}

private func listenUnix(_ path: String) -> Int32 {
  var status = stat()
  if lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK { unlink(path) }
  let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
  var address = sockaddr_un()
  address.sun_family = sa_family_t(AF_UNIX)
  let bytes = Array(path.utf8)
  guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return -1 }
  withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
  let bound = withUnsafePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
  }
  return bound == 0 && listen(descriptor, 512) == 0 ? descriptor : -1
}
