#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

// Some versions of boost use it without saying so.
#include <utility>

#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/optional.hpp>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <limits>

#include "control.hpp"
#include "execution.hpp"
#include "request.hpp"
#include "settings.hpp"
#include "text.hpp"
#include "threads.hpp"

namespace treadle {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using Protocol = asio::generic::stream_protocol;
using Socket = asio::basic_stream_socket<Protocol, asio::io_context::executor_type>;

/// Executions at a time; further ones wait. Each has a thread.
static constexpr unsigned MAX_THREADS = 128;
/// Bodies up to this length are there before user code is called.
static constexpr std::uint64_t SHORT_BODY_BYTES = 64 * 1024;
static constexpr std::uint32_t MAX_HEAD_BYTES = 256 * 1024;
static const char *TIMINGS_FILE = "/mnt/telemetry/timings.txt";
static const char *TIMED_OUT = "Execution timed out.";

/// What all connections share.
struct Server {
  Function function;
  Settings settings;
  Journal journal;
  Capture &capture;
  asio::io_context &context;
  Threads threads{MAX_THREADS};
  std::atomic<unsigned> underWay = 0;
};

/// One connection. The thread of the io_context reads requests; the thread of an execution reads the rest of a long body and writes the answer, and gives the
/// connection back then. They never use it at the same time, except that the clock may answer for user code that does not end.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Server &server, Socket socket) : server(server), socket(std::move(socket)) {}

  void readRequest() {
    parser.emplace();
    parser->header_limit(MAX_HEAD_BYTES);
    parser->body_limit(std::numeric_limits<std::uint64_t>::max());
    http::async_read_header(socket, buffer, *parser, [self = shared_from_this()](error_code error, std::size_t) {
      if (!error) return self->takeHead();
      if (error.category() == http::make_error_code(http::error::bad_method).category() && error != http::error::end_of_stream)
        return self->sayText(400, "The request is malformed.", false);
    });
  }

 private:
  class LongBody;

  void takeHead() {
    const auto &head = parser->get();
    const std::string_view target(head.target().data(), head.target().size());
    if (target == "/__opr/health") return afterBody([this] { sayText(200, "OK", true); });
    if (target == "/__opr/timings") return afterBody([this] { sayTimings(); });
    control = Control::read(head, server.settings);
    if (!control.refusal.empty()) return afterBody([this] { sayText(500, control.refusal, true); });
    // Code that is compiled in has loaded.
    if (target == "/__opr/load") return afterBody([this] { sayText(200, "OK", true); });
    const auto length = parser->content_length();
    const bool isShort = !parser->chunked() && (!length || *length <= SHORT_BODY_BYTES);
    if (isShort) return afterBody([this] { execute(true); });
    execute(false);
  }

  /// Reads the body into `content` first, as far as that is short, and drops what is more.
  void afterBody(std::function<void()> then) {
    content.clear();
    if (parser->is_done()) return then();
    if (!sayContinue()) return;
    piece.resize(16 * 1024);
    readPiece(std::move(then));
  }

  void readPiece(std::function<void()> then) {
    parser->get().body().data = piece.data();
    parser->get().body().size = piece.size();
    http::async_read(socket, buffer, *parser, [self = shared_from_this(), then = std::move(then)](error_code error, std::size_t) {
      if (error && error != http::error::need_buffer) return;
      if (self->content.size() <= SHORT_BODY_BYTES) self->content.append(self->piece.data(), self->piece.size() - self->parser->get().body().size);
      if (self->parser->is_done()) return then();
      self->readPiece(then);
    });
  }

  bool sayContinue() {
    if (lowerCase({parser->get()[http::field::expect].data(), parser->get()[http::field::expect].size()}) != "100-continue") return true;
    error_code error;
    asio::write(socket, asio::buffer("HTTP/1.1 100 Continue\r\n\r\n", 25), error);
    return !error;
  }

  void execute(bool isShort) {
    auto execution = std::make_shared<Execution>();
    execution->id = control.id;
    execution->silent = !control.logging;
    execution->journal = &server.journal;
    execution->capture = &server.capture;
    server.underWay++;
    if (control.timeoutSeconds > 0) startClock(execution, isShort);
    if (isShort) watch(execution);
    server.threads.run([self = shared_from_this(), execution, isShort] {
      self->work(execution, isShort);
      self->server.underWay--;
    });
  }

  /// Answers for user code that takes too long. It goes on by itself, told by its context.
  void startClock(const std::shared_ptr<Execution> &execution, bool isShort) {
    clock.emplace(server.context, std::chrono::seconds(control.timeoutSeconds));
    clock->async_wait([self = shared_from_this(), execution, isShort](error_code error) {
      if (error || execution->answered.exchange(true)) return;
      execution->cancelled = true;
      execution->log("error", TIMED_OUT);
      self->server.capture.end(execution);
      self->sayFailure(isShort);
      // Who still reads a body would take the next request for it.
      if (isShort) self->readRequest();
    });
  }

  /// Tells an execution when its caller goes away. Nothing else is read meanwhile.
  void watch(const std::shared_ptr<Execution> &execution) {
    socket.async_wait(Socket::wait_read, [self = shared_from_this(), execution](error_code error) {
      char byte;
      if (!error && recv(self->socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) execution->cancelled = true;
    });
  }

  /// On a thread of its own: user code, and the source of its stream.
  void work(const std::shared_ptr<Execution> &execution, bool isShort) {
    server.capture.begin(execution);
    RuntimeContext context;
    context.logger.execution = execution;
    context.req.source = std::make_shared<RuntimeRequest::Body>();
    describe(context.req, isShort);
    RuntimeResponse response;
    Finished finished;
    bool tooLarge = false, broken = false;
    try {
      response = server.function(context);
      finished = finish(response);
      tooLarge = response.source == nullptr && context.req.source->isTooLarge();
    } catch (const BodyTooLarge &) {
      tooLarge = true;
    } catch (const CallerGone &gone) {
      finished.problem = gone.what();
      broken = true;
    } catch (const std::exception &error) {
      finished.problem = std::string("Uncaught exception: ") + error.what();
    } catch (...) {
      finished.problem = "Uncaught exception of a type that is no std::exception.";
    }
    if (execution->answered.exchange(true)) return;
    if (!finished.problem.empty()) execution->log("error", finished.problem);
    bool goesOn = parser->is_done() && !broken;
    if (broken) {
      server.capture.end(execution);
    } else if (tooLarge) {
      server.capture.end(execution);
      goesOn = goesOn && answer(413, {{"content-type", "text/plain; charset=utf-8"}}, "The request body is larger than 20 MiB.", goesOn);
    } else if (!finished.problem.empty()) {
      server.capture.end(execution);
      goesOn = sayFailure(goesOn) && goesOn;
    } else if (response.source) {
      goesOn = stream(*execution, response, finished.headers) && parser->is_done();
      server.capture.end(execution);
    } else {
      server.capture.end(execution);
      finished.headers.emplace_back("x-open-runtimes-log-id", control.logging ? control.id : "");
      goesOn = answer(static_cast<unsigned>(response.statusCode), finished.headers, response.body, goesOn) && goesOn;
    }
    const bool isKept = goesOn && parser->keep_alive();
    asio::post(server.context, [self = shared_from_this(), isKept] {
      self->clock.reset();
      if (isKept) return self->readRequest();
      error_code ignored;
      self->socket.shutdown(Socket::shutdown_both, ignored);
      self->socket.close(ignored);
    });
  }

  void describe(RuntimeRequest &request, bool isShort);

  /// Sends the head, then what the source gives. False: the connection is of no use any more.
  bool stream(Execution &execution, const RuntimeResponse &response, RuntimeHeaders headers) {
    headers.emplace_back("x-open-runtimes-log-id", control.logging ? control.id : "");
    http::response<http::empty_body> head = headOf(static_cast<unsigned>(response.statusCode), headers, true);
    const bool isChunked = parser->get().version() >= 11;
    if (isChunked) {
      head.chunked(true);
    } else {
      head.keep_alive(false);
    }
    error_code error;
    http::response_serializer<http::empty_body> serializer{head};
    http::write_header(socket, serializer, error);
    if (error) return false;
    if (parser->get().method() == http::verb::head) return true;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(control.timeoutSeconds);
    const PieceWriter write = [&](std::string_view piece) {
      if (piece.empty()) return;
      if (control.timeoutSeconds > 0 && std::chrono::steady_clock::now() > deadline) throw std::runtime_error(TIMED_OUT);
      error_code failed;
      if (isChunked) {
        asio::write(socket, http::make_chunk(asio::buffer(piece.data(), piece.size())), failed);
      } else {
        asio::write(socket, asio::buffer(piece.data(), piece.size()), failed);
      }
      if (failed) {
        execution.cancelled = true;
        throw CallerGone("The caller has gone away.");
      }
    };
    try {
      response.source(write);
    } catch (const std::exception &failure) {
      if (!execution.cancelled) execution.log("error", failure.what());
      return false;
    } catch (...) {
      execution.log("error", "Uncaught exception of a type that is no std::exception.");
      return false;
    }
    if (isChunked) asio::write(socket, http::make_chunk_last(), error);
    return isChunked && !error;
  }

  http::response<http::empty_body> headOf(unsigned status, const RuntimeHeaders &headers, bool isKept) {
    http::response<http::empty_body> head{http::int_to_status(status), parser->get().version()};
    head.result(status);
    for (const auto &[name, value] : headers) head.insert(boost::beast::string_view(name.data(), name.size()), value);
    head.keep_alive(isKept && parser->keep_alive());
    return head;
  }

  /// Writes a whole answer, and waits until it is out. False: the connection is of no use any more.
  bool answer(unsigned status, const RuntimeHeaders &headers, const std::string &body, bool isKept) {
    http::response<http::empty_body> head = headOf(status, headers, isKept);
    if (status != 204 && status != 304) head.set("content-length", std::to_string(body.size()));
    std::ostringstream text;
    text << head.base();
    const std::string lines = text.str();
    const bool hasBody = parser->get().method() != http::verb::head && status != 204 && status != 304;
    const std::array<asio::const_buffer, 2> parts{asio::buffer(lines), hasBody ? asio::buffer(body) : asio::const_buffer()};
    error_code error;
    asio::write(socket, parts, error);
    return !error;
  }

  bool sayFailure(bool isKept) {
    return answer(500, {{"content-type", "text/plain; charset=utf-8"}, {"x-open-runtimes-log-id", control.logging ? control.id : ""}}, "", isKept);
  }

  /// A short answer of the server's own, and the next request.
  void sayText(unsigned status, const std::string &text, bool isKept) {
    if (answer(status, {{"content-type", "text/plain; charset=utf-8"}}, text, isKept) && isKept && parser->keep_alive()) readRequest();
  }

  void sayTimings() {
    std::ifstream file(TIMINGS_FILE);
    std::string timings{std::istreambuf_iterator<char>(file), {}};
    if (!timings.empty() && timings.back() != '\n') timings += '\n';
    sayText(200, timings + "load=0.000\n", true);
  }

  Server &server;
  Socket socket;
  boost::beast::flat_buffer buffer;
  boost::optional<http::request_parser<http::buffer_body>> parser;
  Control control;
  std::string content;
  std::vector<char> piece;
  boost::optional<asio::steady_timer> clock;
};

/// A body that is long, or of unknown length: read by the execution's thread.
class Connection::LongBody : public RequestBody {
 public:
  explicit LongBody(std::shared_ptr<Connection> connection) : connection(std::move(connection)) {}

  std::size_t read(char *target, std::size_t size) override {
    auto &parser = *connection->parser;
    if (!asked && !parser.is_done() && !connection->sayContinue()) throw CallerGone("The request body broke off.");
    asked = true;
    while (!parser.is_done()) {
      parser.get().body().data = target;
      parser.get().body().size = size;
      error_code error;
      http::read_some(connection->socket, connection->buffer, parser, error);
      if (error && error != http::error::need_buffer) throw CallerGone("The request body broke off: " + error.message());
      if (const std::size_t length = size - parser.get().body().size) return length;
    }
    return 0;
  }

 private:
  std::shared_ptr<Connection> connection;
  bool asked = false;
};

void Connection::describe(RuntimeRequest &request, bool isShort) {
  const auto &head = parser->get();
  request.method = std::string(head.method_string());
  for (const auto &field : head) {
    const std::string name = lowerCase({field.name_string().data(), field.name_string().size()});
    if (startsWith(name, CONTROL_PREFIX)) continue;
    const std::string value(field.value());
    const auto [place, isNew] = request.headers.emplace(name, value);
    if (!isNew) place->second += ", " + value;
  }
  for (const auto &[name, value] : server.settings.enforced) request.headers[name] = value;
  describeTarget(request, {head.target().data(), head.target().size()});
  if (isShort) {
    request.source->content = std::move(content);
  } else {
    request.source->coming = std::make_unique<LongBody>(shared_from_this());
  }
}

template <class Acceptor>
static void accept(Server &server, Acceptor &acceptor) {
  acceptor.async_accept([&](error_code error, typename Acceptor::protocol_type::socket::template rebind_executor<asio::io_context::executor_type>::other socket) {
    if (!error) {
      if constexpr (std::is_same_v<typename Acceptor::protocol_type, asio::ip::tcp>) {
        error_code ignored;
        socket.set_option(asio::ip::tcp::no_delay(true), ignored);
      }
      std::make_shared<Connection>(server, std::move(socket))->readRequest();
    } else {
      // Too many open files: it passes.
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    accept(server, acceptor);
  });
}

/// Ends the process once nothing is under way.
static void endWhenIdle(Server &server, asio::steady_timer &timer) {
  if (server.underWay == 0) _exit(0);
  timer.expires_after(std::chrono::milliseconds(10));
  timer.async_wait([&](error_code) { endWhenIdle(server, timer); });
}

int serve(Function function) {
  std::signal(SIGPIPE, SIG_IGN);
  Settings settings = Settings::read();
  if (!settings.code.empty() && chdir(settings.code.c_str()) != 0) return std::perror("The server could not start"), 1;
  static Capture capture;
  const int real = capture.redirect();
  if (real < 0) return std::perror("The server could not start"), 1;
  try {
    static asio::io_context context{1};
    static Server server{function, settings, Journal(real, settings.logFolder), capture, context};
    if (!settings.problem.empty()) server.journal.write("", "error", settings.problem);
    capture.follow(&server.journal);
    asio::basic_socket_acceptor<asio::local::stream_protocol, asio::io_context::executor_type> local(context);
    asio::basic_socket_acceptor<asio::ip::tcp, asio::io_context::executor_type> tcp(context);
    if (!settings.socket.empty()) {
      struct stat status;
      if (lstat(settings.socket.c_str(), &status) == 0 && S_ISSOCK(status.st_mode)) unlink(settings.socket.c_str());
      local.open();
      local.bind(asio::local::stream_protocol::endpoint(settings.socket));
      local.listen();
      accept(server, local);
    } else {
      tcp.open(asio::ip::tcp::v4());
      tcp.set_option(asio::socket_base::reuse_address(true));
      tcp.bind({asio::ip::address_v4::any(), settings.port});
      tcp.listen();
      accept(server, tcp);
    }
    asio::signal_set signals(context, SIGTERM, SIGINT);
    asio::steady_timer timer(context);
    signals.async_wait([&](error_code, int) {
      error_code ignored;
      local.close(ignored);
      tcp.close(ignored);
      endWhenIdle(server, timer);
    });
    server.journal.say("HTTP server successfully started!");
    context.run();
    return 0;
  } catch (const std::exception &error) {
    std::fprintf(stderr, "The server could not start: %s\n", error.what());
    return 1;
  }
}

}  // namespace treadle
