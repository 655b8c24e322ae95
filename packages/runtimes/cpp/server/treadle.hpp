// What a function in C++ is written with:
//
//   #include <treadle.hpp>
//
//   struct Handler {
//     static RuntimeResponse main(RuntimeContext &context) { return context.res.json({{"hello", "world"}}); }
//   };
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace treadle {

using json = nlohmann::json;

/// Lines of a header; the same name may be given several times (Set-Cookie).
using RuntimeHeaders = std::vector<std::pair<std::string, std::string>>;

/// Where a stream's pieces go: each call sends one. It blocks while the caller does not read, and throws when the caller has gone away.
using PieceWriter = std::function<void(std::string_view piece)>;

/// What a function returns, made by one of the methods of context.res. A default one is none.
struct RuntimeResponse {
  std::string body;
  int statusCode = 0;
  RuntimeHeaders headers;
  std::function<void(const PieceWriter &)> source;
  bool made = false;
};
using RuntimeOutput = RuntimeResponse;

/// Makes responses. The returned one is sent.
class RuntimeResponder {
 public:
  RuntimeResponse text(std::string body, int statusCode = 200, RuntimeHeaders headers = {}) const;
  RuntimeResponse binary(std::string bytes, int statusCode = 200, RuntimeHeaders headers = {}) const;
  RuntimeResponse binary(const std::vector<std::byte> &bytes, int statusCode = 200, RuntimeHeaders headers = {}) const;
  /// Compact JSON.
  RuntimeResponse json(const treadle::json &value, int statusCode = 200, RuntimeHeaders headers = {}) const;
  RuntimeResponse redirect(std::string url, int statusCode = 301, RuntimeHeaders headers = {}) const;
  RuntimeResponse empty() const;
  /// An older name of text.
  RuntimeResponse send(std::string body, int statusCode = 200, RuntimeHeaders headers = {}) const;
  /// Sends the head at once, then each piece that `source` gives to its writer. What it throws breaks the connection, so that nobody takes the part for
  /// the whole.
  RuntimeResponse stream(std::function<void(const PieceWriter &)> source, int statusCode = 200, RuntimeHeaders headers = {}) const;
};

/// The bytes of a request as they come.
class RequestBody {
 public:
  virtual ~RequestBody() = default;
  /// The next bytes, at most `size`; 0 at the end. Throws when the caller has gone away.
  virtual std::size_t read(char *buffer, std::size_t size) = 0;
};

/// What the function is asked: `req` of Open Runtimes v5.
class RuntimeRequest {
 public:
  std::string method;
  /// Scheme, host, port unless it is the scheme's own, path and query.
  std::string url, scheme, host, path, queryString;
  int port = 0;
  /// Undecoded: `a=b&c==d&k` is {a: "b", c: "=d", k: ""}.
  std::map<std::string, std::string> query;
  /// Names in lower case; several of one name are joined with ", ".
  std::map<std::string, std::string> headers;

  /// A header by its lower-case name.
  std::string header(const std::string &name, std::string otherwise = "") const;
  /// Every byte of the body.
  const std::string &bodyBinary() const;
  const std::string &bodyText() const { return bodyBinary(); }
  const std::string &bodyRaw() const { return bodyBinary(); }
  /// The body, whatever its content type says. Throws std::invalid_argument when it is no JSON.
  json bodyJson() const;
  /// Whether body() is JSON's value, because the content type is application/json.
  bool isJson() const;
  /// JSON's value (an empty object for an empty body), or a string, as the content type says.
  json body() const;
  /// The body as it comes, of any length. Use it before, and instead of, the other forms of the body.
  RequestBody &bodyStream() const;

  /// Of the server: where the body comes from.
  struct Body;
  std::shared_ptr<Body> source;
};

/// Of the server: one execution.
class Execution;

/// Writes lines with a level and fields: `context.logger.warn("slow", {{"ms", 12}})`.
class RuntimeLogger {
 public:
  std::shared_ptr<Execution> execution;
  void debug(const std::string &message, const json &fields = nullptr) const { write("debug", message, fields); }
  void info(const std::string &message, const json &fields = nullptr) const { write("info", message, fields); }
  void warn(const std::string &message, const json &fields = nullptr) const { write("warn", message, fields); }
  void error(const std::string &message, const json &fields = nullptr) const { write("error", message, fields); }
  void write(const char *level, const std::string &message, const json &fields) const;
  bool isCancelled() const;
};

/// One execution.
class RuntimeContext {
 public:
  RuntimeRequest req;
  RuntimeResponder res;
  RuntimeLogger logger;

  /// Writes a line to the execution's log: the arguments joined by one space.
  template <class... Arguments>
  void log(const Arguments &...arguments) const {
    logger.write("info", joined(arguments...), nullptr);
  }
  /// Writes a line to the execution's error log.
  template <class... Arguments>
  void error(const Arguments &...arguments) const {
    logger.write("error", joined(arguments...), nullptr);
  }
  /// True once the caller has given up or the time is over: nobody waits for the response any more.
  bool isCancelled() const { return logger.isCancelled(); }

 private:
  template <class... Arguments>
  static std::string joined(const Arguments &...arguments) {
    std::ostringstream text;
    text << std::boolalpha;
    const char *space = "";
    ((text << space << arguments, space = " "), ...);
    return text.str();
  }
};

using Function = RuntimeResponse (*)(RuntimeContext &);

/// Runs the server until it is told to stop. Called by the program that the build makes, not by functions.
int serve(Function function);

}  // namespace treadle

using treadle::json;
using treadle::PieceWriter;
using treadle::RequestBody;
using treadle::RuntimeContext;
using treadle::RuntimeHeaders;
using treadle::RuntimeLogger;
using treadle::RuntimeOutput;
using treadle::RuntimeRequest;
using treadle::RuntimeResponse;
