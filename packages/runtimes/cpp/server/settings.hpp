#pragma once

#include <map>
#include <string>

namespace treadle {

/// Settings of the process (HTTP.md), read once and before user code.
struct Settings {
  std::string socket, code, secret, logFolder, problem;
  unsigned short port = 3000;
  bool development = false;
  /// Headers that every request has.
  std::map<std::string, std::string> enforced;

  /// To be called while there is one thread.
  static Settings read();
};

}  // namespace treadle
