#include "settings.hpp"

#include <sys/stat.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "text.hpp"

namespace treadle {

static std::string environment(const char *name, const char *otherwise = "") {
  const char *value = std::getenv(name);
  return value == nullptr || *value == '\0' ? otherwise : value;
}

static bool isFolder(const std::string &path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

Settings Settings::read() {
  Settings settings;
  settings.socket = environment("TREADLE_SOCKET");
  settings.port = static_cast<unsigned short>(std::atoi(environment("PORT", "3000").c_str()));
  settings.code = environment("TREADLE_CODE", "/usr/local/server/src/function");
  if (!isFolder(settings.code)) settings.code.clear();
  settings.secret = environment("OPEN_RUNTIMES_SECRET");
  // The secret is the caller's, not user code's.
  unsetenv("OPEN_RUNTIMES_SECRET");
  settings.development = environment("OPEN_RUNTIMES_ENV") == "development";
  settings.logFolder = environment("TREADLE_LOGS", "/mnt/logs");
  if (!isFolder(settings.logFolder)) settings.logFolder.clear();
  const std::string given = environment("OPEN_RUNTIMES_HEADERS");
  if (!given.empty()) {
    const auto headers = nlohmann::json::parse(given, nullptr, false);
    if (headers.is_object()) {
      for (const auto &[name, value] : headers.items())
        settings.enforced[lowerCase(name)] = value.is_string() ? value.get<std::string>() : value.dump();
    } else {
      settings.problem = "OPEN_RUNTIMES_HEADERS is not a JSON object.";
    }
  }
  return settings;
}

}  // namespace treadle
