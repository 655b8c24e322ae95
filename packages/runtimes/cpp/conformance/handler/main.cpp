// Does what the header x-action asks for (test/conformance/ACTIONS.md).
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <thread>
#include <treadle.hpp>

struct Handler {
  static RuntimeResponse main(RuntimeContext &context) {
    const RuntimeRequest &req = context.req;
    const auto &res = context.res;
    const std::string action = req.header("x-action");
    if (action == "plainText") return res.text("Hello World 👋");
    if (action == "json") return res.json({{"json", true}, {"message", "Developers are awesome."}});
    if (action == "charset") return res.text("ok", 200, {{"content-type", "text/plain; charset=iso-8859-1"}});
    if (action == "upperCaseType") return res.text("ok", 200, {{"content-type", "TEXT/HTML"}});
    if (action == "multipart") return res.text("--x--", 200, {{"content-type", "multipart/form-data; boundary=12345"}});
    if (action == "redirect") return res.redirect("https://example.com/there");
    if (action == "empty") return res.empty();
    if (action == "binary") return res.binary(std::string("\0\n\xff", 3));
    if (action == "noResponse") return {};
    if (action == "double") {
      res.text("This should be ignored.");
      return res.text("This should be returned.");
    }
    if (action == "headers") {
      return res.text("OK", 200,
                      {{"first-header", "first-value"},
                       {"second-header", req.header("x-open-runtimes-custom-in-header", "missing")},
                       {"third-header", req.header("cookie", "missing")},
                       {"x-open-runtimes-custom-out-header", "third-value"}});
    }
    if (action == "setCookie") return res.text("OK", 200, {{"set-cookie", "a=1; Path=/"}, {"set-cookie", "b=2; HttpOnly"}});
    if (action == "status") return res.text("status", static_cast<int>(number(context, "x-status")));
    if (action == "method") return res.text(req.method);
    if (action == "url") {
      return res.json({{"url", req.url},
                       {"port", req.port},
                       {"path", req.path},
                       {"query", req.query},
                       {"queryString", req.queryString},
                       {"scheme", req.scheme},
                       {"host", req.host}});
    }
    if (action == "requestHeaders") return res.json(req.headers);
    if (action == "bodyText") return res.text(req.bodyText());
    if (action == "bodyJson") return res.json(req.bodyJson());
    if (action == "body") return res.json({{"kind", req.isJson() ? "object" : "text"}, {"body", req.body()}});
    if (action == "bodyBinary") return res.binary(req.bodyBinary());
    if (action == "environment")
      return res.json({{"given", variable("CUSTOM_ENV_VAR")}, {"missing", variable("NOT_DEFINED_VAR")}, {"secret", variable("OPEN_RUNTIMES_SECRET")}});
    if (action == "log") {
      context.log("Debug Log");
      context.error("Error Log");
      context.log("A", 42, true);
      context.log(json{{"object", true}});
      std::cout << "Native Log" << std::endl;
      return res.text("");
    }
    if (action == "longLog") {
      context.log(std::string(9000, 'a'));
      return res.text("");
    }
    if (action == "structuredLog") {
      context.logger.warn("structured", {{"key", "value"}});
      return res.text("");
    }
    if (action == "exception") {
      context.log("before");
      throw std::runtime_error("Custom error message");
    }
    if (action == "sleep") {
      wait(number(context, "x-ms"));
      return res.text("slept");
    }
    if (action == "concurrentLog") {
      const std::string id = req.header("x-id");
      for (int round = 0; round < 3; round++) {
        context.log(id);
        if (round == 1) std::cout << "native " + id + "\n" << std::flush;
        wait(20);
      }
      return res.text(id);
    }
    if (action == "stream") {
      return res.stream(
          [](const PieceWriter &write) {
            write("one\n");
            wait(200);
            write("two\n");
            wait(200);
            write("three\n");
          },
          201, {{"x-streamed", "yes"}});
    }
    if (action == "streamLarge") {
      return res.stream([left = number(context, "x-size")](const PieceWriter &write) mutable {
        const std::string piece(64 * 1024, 'a');
        for (; left > piece.size(); left -= piece.size()) write(piece);
        write(std::string_view(piece).substr(0, left));
      });
    }
    if (action == "streamError") {
      return res.stream([](const PieceWriter &write) {
        write("one\n");
        throw std::runtime_error("the source failed");
      });
    }
    if (action == "echoStream") {
      return res.stream([req](const PieceWriter &write) {
        RequestBody &body = req.bodyStream();
        std::string buffer(64 * 1024, '\0');
        while (const std::size_t length = body.read(buffer.data(), buffer.size())) write({buffer.data(), length});
      });
    }
    if (action == "large") return res.binary(std::string(number(context, "x-size"), 'a'));
    if (action == "file") {
      std::ifstream file("data.txt");
      return res.text({std::istreambuf_iterator<char>(file), {}});
    }
    return res.text("Unknown action", 404);
  }

 private:
  static std::size_t number(const RuntimeContext &context, const char *header) { return std::stoul(context.req.header(header)); }

  static void wait(std::size_t milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); }

  static json variable(const char *name) {
    const char *value = std::getenv(name);
    return value == nullptr ? json() : json(value);
  }
};
