#include "execution.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <thread>

namespace treadle {

/// Bytes of a line that are kept: more than an entry keeps of it.
static constexpr std::size_t MAX_LINE_BYTES = 4 * 8000 + 8;

void Execution::log(const char *level, const std::string &text, const json &fields) {
  if (silent) return;
  capture->settle();
  journal->write(ended ? "" : id, level, text, fields);
}

void RuntimeLogger::write(const char *level, const std::string &message, const json &fields) const {
  execution->log(level, message, fields);
}

bool RuntimeLogger::isCancelled() const { return execution->cancelled; }

int Capture::redirect() {
  const int real = fcntl(1, F_DUPFD_CLOEXEC, 3);
  int pipe[2];
  if (real < 0 || pipe2(pipe, O_CLOEXEC) < 0 || dup2(pipe[1], 1) < 0) return -1;
  close(pipe[1]);
  fcntl(pipe[0], F_SETFL, fcntl(pipe[0], F_GETFL) | O_NONBLOCK);
  printed = pipe[0];
  // Not a file any more, but lines are still wanted when they are whole.
  setvbuf(stdout, nullptr, _IOLBF, 4096);
  return real;
}

void Capture::follow(Journal *target) {
  journal = target;
  std::thread([this] {
    for (;;) {
      pollfd ready{printed, POLLIN, 0};
      poll(&ready, 1, -1);
      settle();
    }
  }).detach();
}

void Capture::settle() {
  const std::lock_guard lock(mutex);
  drain();
}

void Capture::begin(const std::shared_ptr<Execution> &execution) {
  const std::lock_guard lock(mutex);
  if (active.size() == 1) drain();
  active.push_back(execution);
}

void Capture::end(const std::shared_ptr<Execution> &execution) {
  // What has no end of line yet is still held by the standard library.
  std::cout.flush();
  std::fflush(stdout);
  const std::lock_guard lock(mutex);
  drain();
  if (active.size() == 1 && !line.empty()) emit();
  active.erase(std::remove(active.begin(), active.end(), execution), active.end());
  execution->ended = true;
}

void Capture::drain() {
  char buffer[16 * 1024];
  for (;;) {
    const ssize_t length = read(printed, buffer, sizeof buffer);
    if (length < 0 && errno == EINTR) continue;
    if (length <= 0) return;
    std::string_view rest(buffer, static_cast<std::size_t>(length));
    for (std::size_t end; (end = rest.find('\n')) != std::string_view::npos; rest.remove_prefix(end + 1)) {
      keep(rest.substr(0, end));
      emit();
    }
    keep(rest);
  }
}

void Capture::keep(std::string_view bytes) { line.append(bytes.substr(0, MAX_LINE_BYTES - std::min(MAX_LINE_BYTES, line.size()))); }

void Capture::emit() {
  std::string text;
  text.swap(line);
  if (!text.empty() && text.back() == '\r') text.pop_back();
  if (active.size() != 1) return journal->write("", "info", std::move(text));
  if (!active.front()->silent) journal->write(active.front()->id, "info", std::move(text));
}

}  // namespace treadle
