#pragma once

#include <string>
#include <string_view>

namespace treadle {

/// ASCII lower case, whatever the locale is.
inline std::string lowerCase(std::string_view text) {
  std::string lower(text);
  for (char &c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

inline bool startsWith(std::string_view text, std::string_view start) { return text.substr(0, start.size()) == start; }

/// Starts the names of the headers between caller and server, which user code neither sees nor sets.
inline constexpr std::string_view CONTROL_PREFIX = "x-open-runtimes-";

}  // namespace treadle
