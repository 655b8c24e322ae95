#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace treadle {

/// Threads for user code: one more is started when work comes and none is idle, up to a limit; further work waits.
class Threads {
 public:
  explicit Threads(unsigned most) : most(most) {}

  void run(std::function<void()> work) {
    const std::lock_guard lock(mutex);
    waiting.push_back(std::move(work));
    if (waiting.size() > idle && count < most) {
      count++;
      std::thread([this] { live(); }).detach();
    } else {
      wake.notify_one();
    }
  }

 private:
  void live() {
    std::unique_lock lock(mutex);
    for (;;) {
      idle++;
      wake.wait(lock, [this] { return !waiting.empty(); });
      idle--;
      const std::function<void()> work = std::move(waiting.front());
      waiting.pop_front();
      lock.unlock();
      work();
      lock.lock();
    }
  }

  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::function<void()>> waiting;
  const unsigned most;
  unsigned count = 0;
  std::size_t idle = 0;
};

}  // namespace treadle
