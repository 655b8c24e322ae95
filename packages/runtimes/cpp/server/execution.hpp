#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "journal.hpp"
#include "treadle.hpp"

namespace treadle {

class Capture;

/// One call of the user's function.
class Execution {
 public:
  std::string id;
  bool silent = false;
  Journal *journal = nullptr;
  Capture *capture = nullptr;
  std::atomic<bool> ended = false;
  std::atomic<bool> cancelled = false;
  /// Who sets it first, answers: the function's thread, or the clock.
  std::atomic<bool> answered = false;

  /// Writes an entry. What comes after the end belongs to no execution any more.
  void log(const char *level, const std::string &text, const json &fields = nullptr);
};

/// Takes what user code prints: file descriptor 1 becomes a pipe, and its lines become log entries of the one execution in flight, or of none when there
/// are several.
class Capture {
 public:
  /// Redirects file descriptor 1. Returns the real stdout, or -1.
  int redirect();
  /// Takes what is printed as it comes, on a thread of its own.
  void follow(Journal *journal);
  /// Takes what was printed before now, so that it stands before a log entry that is about to be written.
  void settle();
  void begin(const std::shared_ptr<Execution> &execution);
  void end(const std::shared_ptr<Execution> &execution);

 private:
  void drain();
  void keep(std::string_view bytes);
  void emit();

  std::mutex mutex;
  int printed = -1;
  Journal *journal = nullptr;
  std::string line;
  std::vector<std::shared_ptr<Execution>> active;
};

}  // namespace treadle
