#include "request.hpp"

#include <cstring>

#include "text.hpp"

namespace treadle {

/// A body that is here already, for those who want it as a stream.
class StreamOfText : public RequestBody {
 public:
  explicit StreamOfText(const std::string &text) : rest(text) {}
  std::size_t read(char *buffer, std::size_t size) override {
    const std::size_t length = rest.copy(buffer, size);
    rest.remove_prefix(length);
    return length;
  }

 private:
  std::string_view rest;
};

void RuntimeRequest::Body::readWhole() {
  if (wasRead || wasStreamed) return;
  wasRead = true;
  if (coming == nullptr) return;
  std::vector<char> buffer(64 * 1024);
  while (const std::size_t length = coming->read(buffer.data(), buffer.size())) {
    if (!tooLarge) content.append(buffer.data(), length);
    if (content.size() > MAX_BODY_BYTES) {
      // Read to its end, without being kept.
      tooLarge = true;
      std::string().swap(content);
    }
  }
}

const std::string &RuntimeRequest::Body::whole() {
  if (wasStreamed) throw std::logic_error("The request body was taken as a stream; it cannot be read again.");
  readWhole();
  if (tooLarge) throw BodyTooLarge();
  return content;
}

RequestBody &RuntimeRequest::Body::stream() {
  if (coming == nullptr || wasRead) coming = std::make_unique<StreamOfText>(content);
  wasStreamed = true;
  return *coming;
}

bool RuntimeRequest::Body::isTooLarge() {
  readWhole();
  return tooLarge;
}

std::string RuntimeRequest::header(const std::string &name, std::string otherwise) const {
  const auto found = headers.find(name);
  return found == headers.end() ? otherwise : found->second;
}

const std::string &RuntimeRequest::bodyBinary() const { return source->whole(); }

RequestBody &RuntimeRequest::bodyStream() const { return source->stream(); }

json RuntimeRequest::bodyJson() const {
  try {
    return json::parse(source->whole());
  } catch (const json::exception &error) {
    throw std::invalid_argument(std::string("The request body is not valid JSON: ") + error.what());
  }
}

bool RuntimeRequest::isJson() const { return startsWith(lowerCase(header("content-type")), "application/json"); }

json RuntimeRequest::body() const {
  if (!isJson()) return bodyText();
  return bodyBinary().empty() ? json::object() : bodyJson();
}

void describeTarget(RuntimeRequest &request, std::string_view target) {
  request.scheme = request.header("x-forwarded-proto");
  if (request.scheme.empty()) request.scheme = "http";
  std::string authority = request.header("host");
  if (authority.empty()) authority = "localhost";
  const std::size_t mark = target.find("://");
  if (mark != std::string_view::npos && mark > 0 && target.substr(0, mark).find_first_of("/?#") == std::string_view::npos) {
    request.scheme = lowerCase(target.substr(0, mark));
    const std::string_view rest = target.substr(mark + 3);
    const std::size_t end = std::min(rest.find_first_of("/?#"), rest.size());
    authority = rest.substr(0, end);
    target = rest.substr(end);
  }
  target = target.substr(0, target.find('#'));
  const std::size_t question = std::min(target.find('?'), target.size());
  request.path = target.substr(0, question);
  if (request.path.empty()) request.path = "/";
  if (question < target.size()) request.queryString = target.substr(question + 1);
  const int usual = request.scheme == "https" ? 443 : 80;
  const std::size_t colon = authority.rfind(':');
  const std::size_t bracket = authority.rfind(']');
  request.host = authority;
  if (colon != std::string::npos && (bracket == std::string::npos || colon > bracket)) {
    request.host = authority.substr(0, colon);
    request.port = std::atoi(authority.c_str() + colon + 1);
  }
  if (request.port <= 0 || request.port > 65535) request.port = usual;
  request.url = request.scheme + "://" + request.host;
  if (request.port != usual) request.url += ":" + std::to_string(request.port);
  request.url += request.path;
  if (!request.queryString.empty()) request.url += "?" + request.queryString;
  std::string_view rest = request.queryString;
  while (!rest.empty()) {
    const std::string_view part = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    const std::size_t equals = std::min(part.find('='), part.size());
    if (equals > 0) request.query[std::string(part.substr(0, equals))] = part.substr(std::min(equals + 1, part.size()));
  }
}

}  // namespace treadle
