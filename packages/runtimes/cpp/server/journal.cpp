#include "journal.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace treadle {

/// Characters of one entry that are kept.
static constexpr std::size_t MAX_ENTRY_CHARACTERS = 8000;
static const char *CUT_NOTE = "... Log truncated due to size limit (8000 characters)";

static void writeAll(int descriptor, const std::string &text) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t written = ::write(descriptor, text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    // A closed stdout must not end the server.
    if (written < 0) return;
    done += static_cast<std::size_t>(written);
  }
}

/// Shortens an entry that is too long, at the border of a character, and says so.
static void cut(std::string &text) {
  if (text.size() <= MAX_ENTRY_CHARACTERS) return;
  std::size_t characters = 0;
  for (std::size_t i = 0; i < text.size(); i++) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) == 0x80) continue;
    if (characters++ == MAX_ENTRY_CHARACTERS) {
      text.resize(i);
      text += CUT_NOTE;
      return;
    }
  }
}

/// What is no UTF-8 becomes the replacement character.
static std::string encoded(const nlohmann::json &value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void Journal::write(const std::string &id, const char *level, std::string text, const nlohmann::json &fields) {
  cut(text);
  const bool hasFields = fields.is_object() && !fields.empty();
  if (!folder.empty() && !id.empty()) {
    const std::string path = folder + "/" + id + (std::string(level) == "error" ? "_errors.log" : "_logs.log");
    const int file = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0) return;
    writeAll(file, text + (hasFields ? " " + encoded(fields) : "") + "\n");
    close(file);
    return;
  }
  std::string line = R"({"id":)" + (id.empty() ? "null" : encoded(id)) + R"(,"level":")" + level + R"(","text":)" + encoded(text);
  if (hasFields) line += R"(,"fields":)" + encoded(fields);
  put(line + "}\n");
}

void Journal::put(const std::string &line) {
  const std::lock_guard lock(mutex);
  writeAll(descriptor, line);
}

}  // namespace treadle
