#include <algorithm>

#include "request.hpp"
#include "text.hpp"

namespace treadle {

static RuntimeResponse made(std::string body, int statusCode, RuntimeHeaders headers, const char *contentType = nullptr) {
  const auto isType = [](const auto &header) { return lowerCase(header.first) == "content-type"; };
  if (contentType != nullptr && std::none_of(headers.begin(), headers.end(), isType)) headers.emplace_back("content-type", contentType);
  RuntimeResponse response;
  response.body = std::move(body);
  response.statusCode = statusCode;
  response.headers = std::move(headers);
  response.made = true;
  return response;
}

RuntimeResponse RuntimeResponder::text(std::string body, int statusCode, RuntimeHeaders headers) const {
  return made(std::move(body), statusCode, std::move(headers));
}

RuntimeResponse RuntimeResponder::binary(std::string bytes, int statusCode, RuntimeHeaders headers) const {
  return made(std::move(bytes), statusCode, std::move(headers), "application/octet-stream");
}

RuntimeResponse RuntimeResponder::binary(const std::vector<std::byte> &bytes, int statusCode, RuntimeHeaders headers) const {
  return binary(std::string(reinterpret_cast<const char *>(bytes.data()), bytes.size()), statusCode, std::move(headers));
}

RuntimeResponse RuntimeResponder::json(const treadle::json &value, int statusCode, RuntimeHeaders headers) const {
  return made(value.dump(-1, ' ', false, treadle::json::error_handler_t::replace), statusCode, std::move(headers), "application/json");
}

RuntimeResponse RuntimeResponder::redirect(std::string url, int statusCode, RuntimeHeaders headers) const {
  headers.emplace_back("location", std::move(url));
  return made("", statusCode, std::move(headers));
}

RuntimeResponse RuntimeResponder::empty() const { return made("", 204, {}); }

RuntimeResponse RuntimeResponder::send(std::string body, int statusCode, RuntimeHeaders headers) const {
  return text(std::move(body), statusCode, std::move(headers));
}

RuntimeResponse RuntimeResponder::stream(std::function<void(const PieceWriter &)> source, int statusCode, RuntimeHeaders headers) const {
  RuntimeResponse response = made("", statusCode, std::move(headers));
  response.source = std::move(source);
  return response;
}

/// In lower case but for multipart, whose boundary is a matter of case, and with a character set.
static std::string completeType(const std::string &contentType) {
  const std::string lower = lowerCase(contentType);
  if (startsWith(lower, "multipart/")) return contentType;
  return lower.find("charset=") == std::string::npos ? lower + "; charset=utf-8" : lower;
}

/// What the server decides: it counts the bytes and holds the connection.
static bool isConnectionHeader(const std::string &name) {
  return name == "connection" || name == "content-length" || name == "keep-alive" || name == "transfer-encoding" || name == "upgrade";
}

static bool isToken(const std::string &name) {
  static const std::string_view marks = "!#$%&'*+-.^_`|~";
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || marks.find(c) != std::string_view::npos;
  });
}

static bool isHeaderValue(const std::string &value) {
  return std::none_of(value.begin(), value.end(), [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; });
}

Finished finish(const RuntimeResponse &response) {
  Finished finished;
  if (!response.made) {
    finished.problem = "Return statement missing. return context.res.empty() if no response is expected.";
    return finished;
  }
  if (response.statusCode < 200 || response.statusCode > 599) {
    finished.problem = "The status code must be a whole number from 200 to 599, got " + std::to_string(response.statusCode) + ".";
    return finished;
  }
  std::string contentType = "text/plain";
  for (const auto &[given, value] : response.headers) {
    const std::string name = lowerCase(given);
    if (startsWith(name, CONTROL_PREFIX) || isConnectionHeader(name)) continue;
    if (!isToken(name)) {
      finished.problem = "\"" + given + "\" cannot be the name of a header.";
      return finished;
    }
    if (!isHeaderValue(value)) {
      finished.problem = "The header \"" + given + "\" has a value with characters that headers cannot have.";
      return finished;
    }
    if (name == "content-type") {
      contentType = value;
    } else {
      finished.headers.emplace_back(name, value);
    }
  }
  finished.headers.emplace_back("content-type", completeType(contentType));
  return finished;
}

}  // namespace treadle
