#include "control.hpp"

#include <sys/random.h>

#include <algorithm>
#include <string_view>

namespace treadle {

static constexpr unsigned long MAX_TIMEOUT_SECONDS = 2147483;

/// Equal, in a time that does not tell where they differ.
static bool isEqual(std::string_view given, std::string_view secret) {
  volatile unsigned difference = given.size() != secret.size();
  for (std::size_t i = 0; i < given.size(); i++)
    difference = difference | static_cast<unsigned>(static_cast<unsigned char>(given[i] ^ secret[i % secret.size()]));
  return difference == 0;
}

static bool isLogId(std::string_view id) {
  return !id.empty() && id.size() <= 64 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

/// 20 characters that name the log of one execution.
static std::string newLogId() {
  std::string id(20, '0');
  if (getrandom(id.data(), id.size(), 0) < 0) return id;
  for (char &c : id) c = "0123456789abcdefghijklmnopqrstuv"[c & 31];
  return id;
}

Control Control::read(const boost::beast::http::fields &headers, const Settings &settings) {
  const auto text = [&](const char *name) {
    const auto value = headers[name];
    return std::string_view(value.data(), value.size());
  };
  Control control;
  if (!settings.secret.empty() && !isEqual(text("x-open-runtimes-secret"), settings.secret)) {
    control.refusal = "Unauthorized. Provide correct \"x-open-runtimes-secret\" header.";
    return control;
  }
  const std::string timeout(text("x-open-runtimes-timeout"));
  if (!timeout.empty()) {
    const bool isNumber = timeout.size() <= 10 && timeout.find_first_not_of("0123456789") == std::string::npos;
    const unsigned long seconds = isNumber ? std::stoul(timeout) : 0;
    if (seconds < 1 || seconds > MAX_TIMEOUT_SECONDS) {
      control.refusal = "Header \"x-open-runtimes-timeout\" must be an integer greater than 0.";
      return control;
    }
    control.timeoutSeconds = static_cast<unsigned>(seconds);
  }
  const std::string_view logging = text("x-open-runtimes-logging");
  if (!logging.empty() && logging != "enabled" && logging != "disabled") {
    control.refusal = "Header \"x-open-runtimes-logging\" must be either \"enabled\" or \"disabled\".";
    return control;
  }
  control.logging = logging != "disabled";
  const std::string_view asked = text("x-open-runtimes-log-id");
  control.id = isLogId(asked) ? std::string(asked) : settings.development ? "dev" : newLogId();
  return control;
}

}  // namespace treadle
