#pragma once

#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

namespace treadle {

/// Writes log entries as lines of JSON to the real stdout, or as text to files in a folder.
class Journal {
 public:
  Journal(int stdoutDescriptor, std::string folder) : descriptor(stdoutDescriptor), folder(std::move(folder)) {}

  /// A line of the server itself.
  void say(const std::string &line) { put(line + "\n"); }
  /// Puts one entry out, in one write. An empty id is none.
  void write(const std::string &id, const char *level, std::string text, const nlohmann::json &fields = nullptr);

 private:
  void put(const std::string &line);

  std::mutex mutex;
  int descriptor;
  std::string folder;
};

}  // namespace treadle
